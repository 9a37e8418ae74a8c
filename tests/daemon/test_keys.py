"""The daemon's own tokens: where they come from, and who can read them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agentd.daemon.keys import Key, open_key
from agentd.errors import InvalidSetting, StoreFailed
from agentd.store.home import Home, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "data")


def test_the_first_start_makes_a_strong_token_and_the_next_one_finds_it(home: Home) -> None:
    made = open_key(home, "admin")
    assert len(made.text) >= 43  # 32 bytes in base64
    assert open_key(home, "admin") == made


def test_it_is_for_its_owner_only(home: Home) -> None:
    made = open_key(home, "admin")
    assert made.path is not None
    assert made.path.stat().st_mode & 0o777 == 0o600


def test_two_names_have_two_tokens(home: Home) -> None:
    assert open_key(home, "admin").text != open_key(home, "manager").text


def test_one_that_is_given_is_used_and_stored_nowhere(home: Home) -> None:
    assert open_key(home, "admin", "given") == Key("given")
    assert list(home.tokens_path.iterdir()) == []


def test_a_file_that_was_emptied_gets_a_new_one(home: Home) -> None:
    first = open_key(home, "admin")
    assert first.path is not None
    first.path.write_text("\n")
    assert open_key(home, "admin").text not in ("", first.text)


def test_a_file_that_others_can_read_is_closed_to_them(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    path = home.tokens_path / "admin"
    path.write_text("chosen-by-hand\n")
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert open_key(home, "admin").text == "chosen-by-hand"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "could be read by others" in caplog.text
    assert "chosen-by-hand" not in caplog.text


@pytest.mark.parametrize("content", [b"two words", b"\xff\xfe", "schlüssel".encode(), b"a\x00b"])
def test_what_no_client_can_send_is_refused_without_repeating_it(home: Home, content: bytes) -> None:
    path = home.tokens_path / "admin"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InvalidSetting, match=r"tokens/admin is not one word of ASCII") as caught:
        open_key(home, "admin")
    assert "two words" not in str(caught.value)


def test_a_disk_that_refuses_is_told(home: Home) -> None:
    (home.tokens_path / "admin").mkdir()
    with pytest.raises(StoreFailed, match="tokens/admin"):
        open_key(home, "admin")


def test_a_token_is_in_no_repr(home: Home) -> None:
    key = open_key(home, "admin")
    assert key.text not in repr(key)
