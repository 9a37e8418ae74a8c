"""Ids that clients of runs and chats see."""

from __future__ import annotations

import re
import uuid

import pytest

from agentd.store import naming

MS = 1_767_341_837_123  # 2026-01-02T08:17:17.123Z


def test_an_id_is_a_prefix_a_time_and_80_bits() -> None:
    assert re.fullmatch(r"run_20260102t081717z_[a-z2-7]{16}", naming.of_uuid("run_", MS, str(uuid.uuid4())))
    assert re.fullmatch(r"step_[0-9]{8}t[0-9]{6}z_[a-z2-7]{16}", naming.fresh("step_"))


def test_the_id_of_a_session_tells_what_its_uuid_begins_with() -> None:
    session = str(uuid.uuid4())
    start = naming.uuid_start("sess_", naming.of_uuid("sess_", MS, session))
    assert start == session[: naming.UUID_START]


@pytest.mark.parametrize(
    "ident", ["", "run_", "sess_20260102t081717z_aaaaaaaaaaaaaaaa", "run_20260102t081717z_../../../etc/pass", "run_x"]
)
def test_what_is_no_id_of_that_kind_leads_nowhere(ident: str) -> None:
    assert naming.uuid_start("run_", ident) is None


def test_times_are_told_in_utc_with_microseconds() -> None:
    assert naming.instant(MS) == "2026-01-02T08:17:17.123000Z"
