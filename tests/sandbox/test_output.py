"""However much a command says, little of it is in memory."""

from __future__ import annotations

import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from agentd.sandbox import output as output_module
from agentd.sandbox.contain import Containment, Level, run_command
from agentd.sandbox.output import LIVE_END, LIVE_LIMIT, Output


def fed(output: Output, *pieces: bytes) -> Output:
    for piece in pieces:
        output.feed(piece)
    output.finish()
    return output


def test_what_fits_is_kept_whole() -> None:
    with closing(fed(Output(10, len), b"01234", b"56789")) as output:
        assert output.whole == "0123456789"
        assert output.path is None


def test_of_more_the_head_and_the_tail_are_kept() -> None:
    with closing(fed(Output(10, len), b"0123456", b"", b"789ab", b"c")) as output:
        assert output.whole is None
        assert (output.head, output.tail, output.characters) == ("01234", "89abc", 13)


def test_of_more_the_whole_is_in_a_file_without_a_name() -> None:
    with closing(fed(Output(4, len), b"ab", b"cd\xff", b"ef")) as output:
        assert output.path is not None
        assert output.path.read_bytes() == b"abcd\xffef"
        assert "(deleted)" in str(output.path.readlink())


def test_a_character_in_two_pieces_is_one_and_bytes_that_are_none_are_replaced() -> None:
    shown: list[str] = []
    with closing(fed(Output(100, shown.append), b"\xe2\x82", b"\xac \xff ok \xe2")) as output:
        assert output.whole == "".join(shown) == "€ \ufffd ok \ufffd"


def test_the_limit_counts_characters_not_bytes() -> None:
    with closing(fed(Output(4, len), "€€€€".encode())) as output:
        assert output.whole == "€€€€"


def test_live_text_ends_at_its_limit_and_says_so() -> None:
    shown: list[str] = []
    with closing(fed(Output(10, shown.append), *[b"x" * 60_000] * 10)):
        assert "".join(shown) == "x" * LIVE_LIMIT + LIVE_END


def test_the_file_ends_at_its_limit_and_the_output_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "SPOOL_LIMIT", 8)
    with closing(fed(Output(4, len), b"012345", b"678", b"9")) as output:
        assert output.spool_cut
        assert output.spooled == 8
        assert output.path is not None
        assert output.path.read_bytes() == b"01234567"
        assert (output.head, output.tail) == ("01", "89")


def test_a_disk_that_refuses_loses_the_middle_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))  # noqa: PTH123, SIM115
    with closing(fed(Output(4, len), b"012345", b"678")) as output:
        assert output.spool_cut
        assert (output.head, output.tail, output.spooled) == ("01", "78", 0)


async def test_a_hundred_megabytes_stay_bounded_in_memory(tmp_path: Path) -> None:
    command = "head -c 100000000 /dev/zero | tr '\\0' x"
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    tracemalloc.start()
    with closing(Output(30_000, len)) as output:
        contained = Containment(Level.GROUP)
        await run_command(contained, command, cwd=tmp_path, env=env, timeout=60, on_output=output.feed)
        output.finish()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert output.characters == 100_000_000
        assert output.spooled == output_module.SPOOL_LIMIT
    assert peak < 4_000_000
