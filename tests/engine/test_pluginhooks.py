"""Programs of plugins that decide: what they are told, how they answer, and that they end. Every one really runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio

from agentd.domain import ToolUse
from agentd.engine.combinedhooks import CombinedHooks, HookSet, stricter
from agentd.engine.hooks import LONGEST_ANSWER, Decision, HookFailed, Hooks, Verdict
from agentd.engine.pluginhooks import Answer, Ended, ProgramHook, plugin_hooks, read_answer
from agentd.sandbox.contain import GROUP, Containment, probe
from agentd.workspace.extensions.nouns import PluginHook
from tests.witness import Witness

ABOUT = {"session_id": "s1", "cwd": "/w", "permission_mode": "default"}
CALL = ToolUse("toolu_1", "Bash", {"command": "ls"})
ENV = {"PATH": os.environ.get("PATH", os.defpath)}


@attrs.define
class Told:
    """A hook, what it was told, and the records that it wrote."""

    hook: ProgramHook
    records: list[dict[str, Any]]
    workspace: Path

    @property
    def record(self) -> dict[str, Any]:
        [data] = self.records
        return data

    @property
    def input(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads((self.workspace / "told").read_bytes()))


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """A hook that is a shell command."""

    def make(event: str, command: str, confine: Containment = GROUP, **fields: Any) -> Told:
        records: list[dict[str, Any]] = []
        hook = PluginHook("p", tmp_path / "plugin", event, command, **fields)

        def write(kind: str, data: dict[str, Any]) -> None:
            assert kind == "hook"
            records.append(data)

        [one] = plugin_hooks([hook], lambda: ABOUT, write, confine=confine, workspace=tmp_path, env=ENV)
        return Told(one, records, tmp_path)

    return make


def ended(stdout: Any = b"", exit_code: int = 0, stderr: bytes = b"") -> Ended:
    return Ended(exit_code, stdout if isinstance(stdout, bytes) else json.dumps(stdout).encode(), stderr)


# --- What a program is told ---------------------------------------------------------------------------------------


async def test_a_program_reads_of_a_call_what_claude_code_tells(program: Any) -> None:
    told = program("PreToolUse", "cat > told")
    assert await told.hook.before_tool(CALL, "task_1") == Decision()
    assert told.input == {
        **ABOUT,
        "transcript_path": "",
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": "ls"},
        "tool_use_id": "toolu_1",
        "parent_tool_use_id": "task_1",
    }


@pytest.mark.parametrize(
    ("event", "method", "arguments", "fields"),
    [
        ("UserPromptSubmit", "prompt_submitted", ("hi",), {"prompt": "hi"}),
        (
            "PostToolUse",
            "after_tool",
            (CALL, "a\nb", False, 12),
            {"tool_name": "Bash", "tool_response": {"content": "a\nb", "is_error": False, "duration_ms": 12}},
        ),
        ("Stop", "stopped", (False, 5, "done"), {"stop_hook_active": False, "last_assistant_message": "done"}),
        ("Stop", "stopped", (True, 5), {"is_error": True, "duration_ms": 5}),
        ("SubagentStop", "subagent_stopped", ("rev", False, "ok"), {"agent_type": "rev", "is_error": False}),
        ("PreCompact", "before_compact", ("manual",), {"trigger": "manual"}),
        ("Notification", "waiting", ("Run ls?", "permission"), {"message": "Run ls?"}),
    ],
)
async def test_each_event_has_its_own_fields(
    program: Any, event: str, method: str, arguments: tuple[Any, ...], fields: Mapping[str, Any]
) -> None:
    told = program(event, "cat > told")
    await getattr(told.hook, method)(*arguments)
    assert told.input["hook_event_name"] == event
    assert fields.items() <= told.input.items()
    assert told.record["event"] == event


async def test_a_program_runs_in_the_workspace_and_is_told_where_its_plugin_is(program: Any, tmp_path: Path) -> None:
    command = 'printf "%s\\n" "$PWD" "${CLAUDE_PLUGIN_ROOT}" "$CLAUDE_PROJECT_DIR" > where; env > env'
    await program("Stop", command).hook.stopped(False, 1)
    assert (tmp_path / "where").read_text().split("\n")[:3] == [
        str(tmp_path),
        str(tmp_path / "plugin"),
        str(tmp_path),
    ]


async def test_a_program_inherits_nothing_of_ours(program: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    await program("Stop", "env > env").hook.stopped(False, 1)
    assert "secret" not in (tmp_path / "env").read_text()


async def test_an_event_that_a_hook_is_not_for_starts_nothing(program: Any) -> None:
    told = program("Stop", "touch told")
    assert await told.hook.before_tool(CALL) == Decision()
    assert await told.hook.after_tool(CALL, "", False, 1) is None
    assert await told.hook.prompt_submitted("hi") == Decision()
    await told.hook.waiting("x", "plan")
    assert told.records == []


@pytest.mark.parametrize(
    ("matcher", "tool", "matches"),
    [
        ("", "Bash", True),
        ("*", "Bash", True),
        ("Bash", "Bash", True),
        ("Write", "WriteX", False),
        ("Edit", "MultiEdit", False),
        ("Edit|Write", "Write", True),
        ("mcp__.*", "mcp__a__b", True),
        ("bash", "Bash", False),
        ("(", "Bash", True),
    ],
)
async def test_a_matcher_is_for_whole_names(program: Any, matcher: str, tool: str, matches: bool) -> None:
    assert program("PreToolUse", "true", matcher=matcher).hook.wants("PreToolUse", tool) is matches


async def test_only_events_of_tools_look_at_the_matcher(program: Any) -> None:
    assert program("Stop", "true", matcher="Bash").hook.wants("Stop")


# --- How it answers -----------------------------------------------------------------------------------------------


async def test_exit_code_2_denies_and_stderr_says_why(program: Any) -> None:
    told = program("PreToolUse", "echo not today >&2; exit 2")
    assert await told.hook.before_tool(CALL) == Decision("deny", "not today")
    assert (told.record["url"], told.record["decision"], told.record["error"]) == ("plugin:p", "deny", None)
    assert told.record["call"] == "toolu_1"


async def test_exit_code_2_tells_the_model_after_a_tool(program: Any) -> None:
    told = program("PostToolUse", "echo 'format it' >&2; exit 2")
    assert await told.hook.after_tool(CALL, "", False, 1) == "format it"


async def test_another_exit_code_changes_nothing_and_is_told(program: Any) -> None:
    told = program("PreToolUse", "echo oops >&2; exit 7")
    assert await told.hook.before_tool(CALL) == Decision()
    assert told.record["error"] == "it ended with exit code 7: oops"


async def test_a_script_that_is_not_there_changes_nothing_and_is_told(program: Any) -> None:
    told = program("PreToolUse", '"$CLAUDE_PLUGIN_ROOT"/missing.sh')
    assert await told.hook.before_tool(CALL) == Decision()
    assert "127" in told.record["error"]


async def test_what_a_prompt_hook_prints_is_put_behind_the_prompt(program: Any) -> None:
    told = program("UserPromptSubmit", "echo It is Monday.")
    assert await told.hook.prompt_submitted("hi") == Decision(None, "", {"prompt": "hi\n\nIt is Monday."})


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ({}, Decision()),
        ({"continue": True, "suppressOutput": True, "systemMessage": "x"}, Decision()),
        ({"decision": "approve"}, Decision("allow")),
        ({"decision": "block", "reason": "no"}, Decision("deny", "no")),
        ({"decision": "ask"}, Decision("ask")),
        ({"decision": "deny"}, Decision("deny", "the PreToolUse hook denied it")),
        ({"decision": "allow", "modified_input": {"a": 1}}, Decision("allow", "", {"a": 1})),
        ({"continue": False, "stopReason": "enough"}, Decision("deny", "enough")),
        ({"hookSpecificOutput": {"permissionDecision": "allow"}}, Decision("allow")),
        (
            {"hookSpecificOutput": {"permissionDecision": "deny", "permissionDecisionReason": "r"}, "reason": "other"},
            Decision("deny", "r"),
        ),
        (
            {"hookSpecificOutput": {"permissionDecision": "allow", "updatedInput": {"command": "ls -l"}}},
            Decision("allow", "", {"command": "ls -l"}),
        ),
    ],
)
def test_a_printed_object_decides(answer: dict[str, Any], decision: Decision) -> None:
    assert read_answer("PreToolUse", ended(answer)) == Answer(decision)


@pytest.mark.parametrize("event", ["PostToolUse", "UserPromptSubmit"])
def test_a_printed_object_may_bring_more_for_the_model(event: str) -> None:
    answer = {"hookSpecificOutput": {"hookEventName": event, "additionalContext": "mind the gap"}}
    assert read_answer(event, ended(answer)) == Answer(context="mind the gap")


def test_other_output_means_nothing_before_a_tool() -> None:
    assert read_answer("PreToolUse", ended(b"all is well")) == Answer()


def test_the_answer_to_an_event_that_nobody_decides_is_not_read() -> None:
    assert read_answer("Stop", ended({"decision": "block"})) == Answer()
    assert read_answer("Stop", ended(exit_code=2, stderr=b"go on")) == Answer()
    assert read_answer("Stop", ended(exit_code=1)).failure == "it ended with exit code 1"
    assert read_answer("Stop", ended(exit_code=-9)).failure == "it ended with signal 9"


@pytest.mark.parametrize(
    "stdout",
    [
        b"{",
        b'{"decision": "maybe"}',
        b'{"decision": ["deny"]}',
        b'{"reason": 1}',
        b'{"hookSpecificOutput": []}',
        b'{"hookSpecificOutput": {"permissionDecision": "deny!"}}',
        b'{"hookSpecificOutput": {"updatedInput": "x"}}',
        b'{"hookSpecificOutput": {"additionalContext": 1}}',
        b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"x": NaN}',
    ],
)
def test_an_object_that_is_no_answer_is_a_failure(stdout: bytes) -> None:
    with pytest.raises(HookFailed):
        read_answer("PreToolUse", ended(stdout))


async def test_before_a_tool_an_answer_that_is_none_denies(program: Any) -> None:
    told = program("PreToolUse", "echo '{\"decision\": '")
    decision = await told.hook.before_tool(CALL)
    assert decision.verdict == "deny"
    assert "nothing was executed" in decision.reason
    assert told.record["error"] == "what it printed is no JSON"


async def test_elsewhere_an_answer_that_is_none_changes_nothing(program: Any) -> None:
    told = program("PostToolUse", "echo '{'")
    assert await told.hook.after_tool(CALL, "", False, 1) is None
    assert told.record["error"]


async def test_what_json_has_no_form_for_denies(program: Any) -> None:
    told = program("PreToolUse", "true")
    assert (await told.hook.before_tool(ToolUse("t", "Bash", {"x": float("nan")}))).verdict == "deny"


# --- That it ends -------------------------------------------------------------------------------------------------


async def test_a_program_that_does_not_end_in_time_is_ended_and_denies(program: Any, witness: Witness) -> None:
    told = program("PreToolUse", f"exec sleep {witness.number}", timeout=0.2)
    decision = await told.hook.before_tool(CALL)
    assert decision.verdict == "deny"
    assert told.record["error"] == "it gave no answer within 0.2 s"
    assert witness.alive() == []


async def test_what_a_program_leaves_behind_is_ended(program: Any, witness: Witness) -> None:
    confine = await probe()
    told = program("Stop", f"setsid sleep {witness.number} >/dev/null 2>&1 & exit 0", confine)
    await told.hook.stopped(False, 1)
    assert witness.alive() == []


async def test_who_holds_its_output_open_does_not_hold_us_up(program: Any, witness: Witness) -> None:
    told = program("PreToolUse", f'sleep {witness.number} & echo \'{{"decision": "deny"}}\'')
    assert (await told.hook.before_tool(CALL)).verdict == "deny"
    assert witness.alive() == []


@pytest.mark.parametrize("stream", ["", " >&2"])
async def test_a_program_that_says_too_much_is_ended_and_denies(program: Any, stream: str) -> None:
    told = program("PreToolUse", f"exec yes{stream}")
    assert (await told.hook.before_tool(CALL)).verdict == "deny"
    assert told.record["error"] == f"it said more than {LONGEST_ANSWER} bytes"


async def test_a_program_need_not_read_what_it_is_told(program: Any) -> None:
    call = ToolUse("t", "Write", {"content": "x" * (1 << 20)})
    assert await program("PreToolUse", 'exec 0<&-; echo \'{"decision":"allow"}\'').hook.before_tool(call) == Decision(
        "allow"
    )


async def test_a_program_may_read_slowly_and_answer_at_length(program: Any) -> None:
    script = "import json, sys; c = json.load(sys.stdin)['tool_input']['c']"
    script += "; print(json.dumps({'decision': 'deny', 'reason': c[:9000]}))"
    told = program("PreToolUse", f'"{sys.executable}" -I -S -c "{script}"')
    decision = await told.hook.before_tool(ToolUse("t", "Write", {"c": "y" * (1 << 20)}))
    assert decision == Decision("deny", "y" * 9000)


async def test_a_place_that_is_gone_denies(program: Any, tmp_path: Path) -> None:
    hook = PluginHook("p", tmp_path, "PreToolUse", "true")
    records: list[Any] = []
    [one] = plugin_hooks(
        [hook],
        lambda: ABOUT,
        lambda kind, data: records.append(data),
        confine=GROUP,
        workspace=tmp_path / "gone",
        env=ENV,
    )
    assert (await one.before_tool(CALL)).verdict == "deny"
    assert "cannot be started" in records[0]["error"]


async def test_a_run_that_is_cancelled_ends_its_program_and_is_recorded(program: Any, witness: Witness) -> None:
    told = program("PreToolUse", f"touch began; exec sleep {witness.number}")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.hook.before_tool, CALL)
            with trio.fail_after(10):
                while not (told.workspace / "began").exists():  # noqa: ASYNC110  # another process makes it
                    await trio.sleep(0.005)
            scope.cancel()
    assert told.record["error"] == "the run ended before there was an answer"
    assert witness.alive() == []


# --- Several of them ----------------------------------------------------------------------------------------------


@attrs.define
class Says:
    """A HookSet that answers as it is told, and remembers what it was asked."""

    decision: Decision = attrs.field(factory=Decision)
    feedback: str | None = None
    events: tuple[str, ...] = ("PreToolUse",)
    asked: list[Any] = attrs.field(factory=list)

    def wants(self, event: str, tool: str = "") -> bool:
        return event in self.events

    async def prompt_submitted(self, prompt: str) -> Decision:
        self.asked.append(prompt)
        return self.decision

    async def before_tool(self, call: ToolUse, parent: str | None = None) -> Decision:
        self.asked.append(call.input)
        return self.decision

    async def after_tool(self, *arguments: Any) -> str | None:
        self.asked.append(arguments)
        return self.feedback

    async def stopped(self, *arguments: Any) -> None:
        self.asked.append(("stopped", *arguments))

    async def subagent_stopped(self, *arguments: Any) -> None:
        self.asked.append(("subagent_stopped", *arguments))

    async def before_compact(self, *arguments: Any) -> None:
        self.asked.append(("before_compact", *arguments))

    async def waiting(self, *arguments: Any) -> None:
        self.asked.append(("waiting", *arguments))


def combined(*sets: Says) -> CombinedHooks:
    return CombinedHooks([cast(HookSet, each) for each in sets])


STRICTNESS: list[Verdict | None] = [None, "allow", "ask", "deny"]


@pytest.mark.parametrize("one", STRICTNESS)
@pytest.mark.parametrize("other", STRICTNESS)
async def test_the_strictest_verdict_counts(one: Verdict | None, other: Verdict | None) -> None:
    decision = await combined(Says(Decision(one, "1")), Says(Decision(other, "2"))).before_tool(CALL)
    assert decision.verdict == max(one, other, key=STRICTNESS.index)
    if decision.verdict is not None:
        assert decision.reason == ("2" if STRICTNESS.index(other) > STRICTNESS.index(one) else "1")


async def test_the_input_that_one_has_changed_is_what_the_next_one_judges() -> None:
    first, second = Says(Decision("allow", "", {"command": "ls -l"})), Says()
    assert await combined(first, second).before_tool(CALL) == Decision("allow", "", {"command": "ls -l"})
    assert second.asked == [{"command": "ls -l"}]


async def test_the_last_change_of_an_input_counts() -> None:
    first, second = Says(Decision("ask", "r", {"a": 1})), Says(Decision("allow", "", {"a": 2}))
    assert await combined(first, second).before_tool(CALL) == Decision("ask", "r", {"a": 2})


async def test_after_a_deny_nobody_else_is_asked() -> None:
    second = Says()
    assert (await combined(Says(Decision("deny", "no")), second).before_tool(CALL)).reason == "no"
    assert second.asked == []


async def test_a_prompt_is_changed_by_one_after_the_other() -> None:
    first, second = Says(Decision(None, "", {"prompt": "a b"})), Says(Decision("allow", "", {"prompt": "a b c"}))
    assert await combined(first, second).prompt_submitted("a") == Decision("allow", "", {"prompt": "a b c"})
    assert (first.asked, second.asked) == (["a"], ["a b"])


async def test_a_prompt_that_one_denies_reaches_no_other() -> None:
    second = Says()
    assert (await combined(Says(Decision("deny", "no")), second).prompt_submitted("a")).verdict == "deny"
    assert second.asked == []


@pytest.mark.parametrize(
    ("said", "told"), [((None, None), None), (("a", None), "a"), (("a", "b"), "a\nb"), ((None, ""), "")]
)
async def test_what_is_said_of_a_result_is_put_together(said: tuple[str | None, ...], told: str | None) -> None:
    sets = combined(*(Says(feedback=each) for each in said))
    assert await sets.after_tool(CALL, "", False, 1) == told


async def test_everybody_is_told_of_what_nobody_decides() -> None:
    both = Says(), Says()
    sets = combined(*both)
    await sets.stopped(False, 1, "r")
    await sets.subagent_stopped("a", True)
    await sets.before_compact("auto")
    await sets.waiting("m", "plan")
    for each in both:
        assert [name for name, *_ in each.asked] == ["stopped", "subagent_stopped", "before_compact", "waiting"]


def test_one_that_wants_an_event_is_enough() -> None:
    sets = combined(Says(), Says(events=("Stop",)))
    assert sets.wants("Stop")
    assert not sets.wants("Notification")


def test_webhooks_and_programs_go_together(tmp_path: Path) -> None:
    webhooks = Hooks({}, lambda: ABOUT, lambda _kind, _data: None)
    programs = plugin_hooks(
        [PluginHook("p", tmp_path, "PreToolUse", "true")],
        lambda: ABOUT,
        lambda _kind, _data: None,
        confine=GROUP,
        workspace=tmp_path,
        env=ENV,
    )
    assert CombinedHooks([webhooks, *programs]).wants("PreToolUse", "Bash")


def test_nobody_has_no_opinion() -> None:
    assert stricter(Decision(), Decision()) == Decision()
