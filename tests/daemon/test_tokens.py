"""Tokens of sessions: what is taken, and that nothing else is. The contract: manager.md, §3."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.daemon.tokens import SessionTokens
from agentd.errors import InvalidSetting

KEY = "test-master-token"
SESSION = "0b7f1c1e-5d0e-4d4c-9a3f-0f2a6a2b9c11"
NOW = 1_700_000_000_000
TOKENS = SessionTokens(KEY, clock=lambda: NOW)
ISSUED = TOKENS.issue(SESSION).text


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(payload: Any, key: str = KEY) -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return f"{encode(raw)}.{encode(hmac.new(key.encode(), raw, hashlib.sha256).digest())}"


def claims(**fields: Any) -> dict[str, Any]:
    return {"sessionId": SESSION, "issuedAt": NOW, "expiresAt": NOW + 1} | fields


def test_a_token_opens_its_session() -> None:
    assert TOKENS.session_of(ISSUED) == SESSION


def test_a_token_is_what_the_contract_says() -> None:
    payload, signature = ISSUED.split(".")
    raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    assert json.loads(raw) == {"sessionId": SESSION, "issuedAt": NOW, "expiresAt": NOW + 3_600_000}
    assert signature == encode(hmac.new(KEY.encode(), raw, hashlib.sha256).digest())


def test_keys_of_the_payload_may_come_in_any_order_and_with_others() -> None:
    assert TOKENS.session_of(forge({"expiresAt": NOW, "x": [], "issuedAt": 0, "sessionId": SESSION})) == SESSION


def test_a_token_is_good_until_its_last_millisecond() -> None:
    clock = [NOW]
    tokens = SessionTokens(KEY, ttl_seconds=0.5, clock=lambda: clock[0])
    issued = tokens.issue(SESSION)
    assert issued.expires_at == NOW + 500
    clock[0] += 500
    assert tokens.session_of(issued.text) == SESSION
    clock[0] += 1
    assert tokens.session_of(issued.text) is None


@pytest.mark.parametrize(
    "token",
    [
        *("", " ", ".", "..", "no-dot", ISSUED.replace(".", ""), f"{ISSUED}.", f"{ISSUED}.x", f".{ISSUED}"),
        *(f"{ISSUED}=", f" {ISSUED}", ISSUED.replace(".", "=."), ISSUED.replace(".", "!."), "é.é", "a.\ud800"),
        *(ISSUED.partition(".")[0] + ".", "." + ISSUED.partition(".")[2], ISSUED[:-4]),
        *(forge(claims(), "another key"), forge(claims(expiresAt=NOW - 1))),
        *(forge(b""), forge(b"{"), forge([]), forge(None), forge("text"), forge({}), forge(b"[" * 3000)),
        *(forge(claims(sessionId=None)), forge(claims(sessionId="../x")), forge(claims(sessionId=7))),
        *(forge(claims(expiresAt=True)), forge(claims(expiresAt=1e99)), forge(claims(expiresAt=str(NOW + 1)))),
        forge(b"\xff" * 20),
    ],
)
def test_what_was_not_issued_or_makes_no_sense_opens_nothing(token: str) -> None:
    assert TOKENS.session_of(token) is None


@given(st.integers(0, len(ISSUED) - 1), st.characters())
def test_no_other_character_will_do_anywhere(at: int, other: str) -> None:
    if other != ISSUED[at]:
        assert TOKENS.session_of(ISSUED[:at] + other + ISSUED[at + 1 :]) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert TOKENS.session_of(text) is None


@pytest.mark.parametrize("key", ["", " ", "\t\n"])
def test_a_blank_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidSetting, match="blank"):
        SessionTokens(key)


def test_neither_key_nor_token_is_told() -> None:
    assert KEY not in repr(TOKENS)
    assert ISSUED not in repr(TOKENS.issue(SESSION))
