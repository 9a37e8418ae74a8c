"""Queries: what the client says, with prompts, permissions, questions and formats of its own."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.domain import (
    Hook,
    Image,
    ImagePart,
    JobState,
    McpServer,
    Mode,
    OutputFormat,
    PermissionMode,
    Rules,
    SystemPrompt,
    ToolClass,
    ToolPolicy,
)
from agentd.engine.asks import Settlement
from agentd.engine.engine import Engine
from agentd.engine.session import Session
from agentd.errors import JobNotFound, StoreFailed
from agentd.providers.scripted import ScriptedProvider, call, reply
from agentd.store import secrets
from agentd.store.fold import AskView, JobView
from agentd.tools.base import ToolContext
from agentd.tools.registry import FILE_TOOLS
from tests.workshop import TOOLS, FakeTool, Workshop, ended, notices, only, spec, until

DEFAULT, PLAN = ToolPolicy(permission_mode=PermissionMode.DEFAULT), ToolPolicy(permission_mode=PermissionMode.PLAN)
ALONE = ToolPolicy(permission_mode=PermissionMode.DEFAULT, ask_seconds=0)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
QUESTION = {
    "questions": [
        {"question": "Which database?", "header": "Database", "options": [{"label": "SQLite"}, {"label": "Postgres"}]}
    ]
}


def query(prompt: str = "do it", **fields: Any) -> Any:
    return spec(prompt, Mode.QUERY, **fields)


async def asked(engine: Engine, **fields: Any) -> tuple[Session, JobView, AskView]:
    """A query that waits for an ask."""
    accepted = await engine.accept(query(**fields))
    await until(accepted.session, lambda: accepted.job.state is JobState.WAITING)
    [ask] = accepted.session.state.open_asks()
    return accepted.session, accepted.job, ask


def answer(text: str) -> Settlement:
    return Settlement("answer", "", "client", text)


# --- Questions ----------------------------------------------------------------------------------------------------


async def test_a_question_waits_for_its_answer_which_the_model_gets(workshop: Workshop) -> None:
    workshop.says(reply(call("AskUserQuestion", **QUESTION)), reply("Good.", expect=["Postgres, please"]))
    async with workshop.open() as engine:
        session, job, ask = await asked(engine)
        assert (ask.data["kind"], ask.data["question"]) == ("question", "Which database?")
        assert ask.data["options"] == ["SQLite", "Postgres"]
        assert ask.data["questions"][0]["header"] == "Database"
        await engine.settle(ask.id, answer("Postgres, please"))
        await ended(session, job)
        kinds = [record.type for record in session.view.records()]
    assert job.state is JobState.COMPLETED
    assert kinds.index("ask.opened") < kinds.index("tool.started")  # nothing is in flight while it waits


async def test_a_question_outlives_its_executor(workshop: Workshop) -> None:
    workshop.says(reply(call("AskUserQuestion", **QUESTION)))
    async with workshop.open() as engine:
        _, job, _ = await asked(engine)
        await engine.close(interrupt=True)
    workshop.says(reply("Good.", expect=["SQLite"]))
    async with workshop.open() as engine:
        session, job = engine.find_job(job.id)
        [ask] = session.state.open_asks()
        await engine.settle(ask.id, answer("SQLite"))
        await ended(session, job)
    assert job.state is JobState.COMPLETED


async def test_the_short_form_of_a_question_is_taken(workshop: Workshop) -> None:
    workshop.says(reply(call("AskUserQuestion", question="Go on?", options=["Yes", "No"])), "Good.")
    async with workshop.open() as engine:
        session, job, ask = await asked(engine)
        assert [option["label"] for option in ask.data["questions"][0]["options"]] == ["Yes", "No"]
        await engine.settle(ask.id, answer("Yes"))
        await ended(session, job)


async def test_answers_by_question_are_told_a_line_each(workshop: Workshop) -> None:
    told = "Which database?: Postgres\nWhich cloud?: none, really"
    workshop.says(reply(call("AskUserQuestion", **QUESTION)), reply("Good.", expect=[told]))
    async with workshop.open() as engine:
        session, job, ask = await asked(engine)
        given = json.dumps({"Which database?": "Postgres", "Which cloud?": ["none", "really"]})
        await engine.settle(ask.id, answer(given))
        await ended(session, job)
    assert job.state is JobState.COMPLETED


@pytest.mark.parametrize(
    "given", [{}, {"questions": []}, {"question": " "}, {"questions": [{"question": 1}]}, {"questions": "a"}]
)
async def test_a_question_that_asks_nothing_is_refused_without_asking(workshop: Workshop, given: Any) -> None:
    workshop.says(reply(call("AskUserQuestion", **given)), "I see.")
    job, records = await workshop.do(mode=Mode.QUERY)
    assert job.state is JobState.COMPLETED
    assert only(records, "ask.opened") == []
    assert not only(records, "tool.finished")[0]["ok"]


async def test_where_nobody_is_there_a_question_has_no_answer(workshop: Workshop) -> None:
    workshop.says(reply(call("AskUserQuestion", **QUESTION)), reply("Then not.", expect=["nobody is there"]))
    job, _ = await workshop.do(mode=Mode.QUERY, tools=ALONE)
    assert job.state is JobState.COMPLETED


async def test_an_answer_that_comes_before_its_question_is_kept_for_it_and_not_for_a_permission(
    workshop: Workshop,
) -> None:
    workshop.says(reply(call("Bash")), reply(call("AskUserQuestion", **QUESTION)), reply("Good.", expect=["Early"]))
    async with workshop.open() as engine:
        session, job, ask = await asked(engine, tools=DEFAULT)
        await engine.control(permission_mode=None, answer="Late")
        await engine.control(permission_mode=None, answer="Early")
        assert ask.settled is None
        await engine.settle(ask.id, Settlement("allow", "", "client"))
        await ended(session, job)
    assert job.state is JobState.COMPLETED


# --- Permissions --------------------------------------------------------------------------------------------------


async def test_an_approved_plan_ends_plan_mode(workshop: Workshop) -> None:
    workshop.says(
        reply(call("Write", about="a"), tools=["ExitPlanMode"]),
        reply(call("ExitPlanMode", plan="1. Write a")),
        reply(call("Bash", about="b")),
        "Done.",
    )
    async with workshop.open() as engine:
        session, job, ask = await asked(engine, tools=PLAN)
        assert (ask.data["kind"], ask.data["question"]) == ("plan", "1. Write a")
        await engine.settle(ask.id, Settlement("allow", "", "client"))
        await until(session, lambda: job.state is JobState.WAITING)  # DEFAULT asks
        await engine.settle(session.state.open_asks()[0].id, Settlement("allow", "", "client"))
        await ended(session, job)
        records = list(session.view.records())
    assert [data["ok"] for data in only(records, "tool.finished")] == [False, True, True]
    assert only(records, "job.finished")[0]["permission_mode"] == "default"


async def test_a_plan_that_is_not_approved_leaves_plan_mode_on(workshop: Workshop) -> None:
    workshop.says(
        reply(call("ExitPlanMode", plan="1. Write a")), reply(call("Write", about="a"), expect=["too risky"]), "I see."
    )
    async with workshop.open() as engine:
        session, job, ask = await asked(engine, tools=PLAN)
        await engine.settle(ask.id, Settlement("deny", "too risky", "client"))
        await ended(session, job)
        assert [data["ok"] for data in only(session.view.records(), "tool.finished")] == [False, False]


async def test_plan_mode_alone_has_the_tool_that_ends_it(workshop: Workshop) -> None:
    workshop.says("Hello.")
    _, records = await workshop.do(mode=Mode.QUERY)
    offered = only(records, "job.started")[0]["tools"]
    assert "AskUserQuestion" in offered
    assert not {"ExitPlanMode", "Code", "TaskList"} & set(offered)


async def test_a_change_of_mode_settles_what_waits_and_holds_for_what_comes(workshop: Workshop) -> None:
    workshop.says(reply(call("Bash", about="a")), reply(call("Bash", about="b")), "Done.")
    async with workshop.open() as engine:
        session, job, ask = await asked(engine, tools=DEFAULT)
        await engine.control(permission_mode=PermissionMode.BYPASS, answer=None)
        await ended(session, job)
        records = list(session.view.records())
    assert ask.settled is not None
    assert (ask.settled["decision"], ask.settled["by"]) == ("allow", "mode")
    assert len(only(records, "ask.opened")) == 1
    assert only(records, "job.finished")[0]["permission_mode"] == "bypassPermissions"


async def test_plan_mode_refuses_what_waits_to_be_allowed(workshop: Workshop) -> None:
    workshop.says(reply(call("Bash", about="a")), reply("I see.", expect=["the permission mode is plan now"]))
    async with workshop.open() as engine:
        session, job, _ = await asked(engine, tools=DEFAULT)
        await engine.control(permission_mode=PermissionMode.PLAN, answer=None)
        await ended(session, job)
    assert job.state is JobState.COMPLETED


async def test_a_call_runs_with_the_input_that_a_person_gave_it(workshop: Workshop) -> None:
    workshop.says(reply(call("Bash", about="rm -rf /")), reply("Done.", expect=["saw ls"]))
    async with workshop.open() as engine:
        session, job, ask = await asked(engine, tools=DEFAULT)
        await engine.settle(ask.id, Settlement("allow", "", "client", updated_input={"about": "ls"}))
        await ended(session, job)
        assert only(session.view.records(), "tool.started")[0]["input"] == {"about": "ls"}


async def test_where_no_job_is_at_work_there_is_nothing_to_steer(workshop: Workshop) -> None:
    async with workshop.open() as engine:
        with pytest.raises(JobNotFound):
            await engine.control(permission_mode=PermissionMode.PLAN, answer=None)


# --- Prompts ------------------------------------------------------------------------------------------------------


async def test_a_system_prompt_is_replaced_or_added_to(workshop: Workshop) -> None:
    workshop.says("Arr.", "Hello.")
    model = workshop.model
    await workshop.do(mode=Mode.QUERY, system=SystemPrompt("You are a pirate.", "Be brief."))
    await workshop.do(mode=Mode.QUERY, system=SystemPrompt(append="Be brief."))
    replaced, appended = (request.system for request in model.requests)
    assert replaced.startswith("You are a pirate.\n\nBe brief.\n\nWorkspace: ")
    assert appended.startswith("You are agentd")
    assert "\n\nBe brief.\n\n" in appended


async def test_clear_forgets_what_was_said(workshop: Workshop) -> None:
    workshop.says("I will remember 42.", "I know nothing.")
    model = workshop.model
    await workshop.do(mode=Mode.QUERY, prompt="Remember 42")
    job, records = await workshop.do(mode=Mode.QUERY, prompt="/clear")
    assert job.state is JobState.COMPLETED
    assert "CLEARED" in notices(records)
    await workshop.do(mode=Mode.QUERY, prompt="Which number?")
    assert [message.text for message in model.requests[-1].messages] == ["Which number?"]


async def test_compact_puts_a_summary_in_the_place_of_the_conversation(workshop: Workshop) -> None:
    workshop.says("word " * 400, "It was about words.", "Good.")
    model = workshop.model
    await workshop.do(mode=Mode.QUERY)
    await workshop.do(mode=Mode.QUERY, prompt="/compact")
    await workshop.do(mode=Mode.QUERY, prompt="And now?")
    assert "It was about words." in model.requests[-1].messages[0].text


# --- JSON ---------------------------------------------------------------------------------------------------------


async def test_the_last_word_is_read_as_json(workshop: Workshop) -> None:
    workshop.says('{"name": "Ada"}')
    job, _ = await workshop.do(mode=Mode.QUERY, output=OutputFormat("json"))
    assert job.finished is not None
    assert job.finished["structured"] == {"name": "Ada"}


async def test_a_model_is_told_what_is_wrong_with_its_json_and_tries_again(workshop: Workshop) -> None:
    workshop.says("Ada, of course.", '{"name": "Ada"}')
    job, records = await workshop.do(mode=Mode.QUERY, output=OutputFormat("json"))
    assert job.finished is not None
    assert job.finished["structured"] == {"name": "Ada"}
    assert job.finished["turns"] == 2
    assert len([data for data in only(records, "message") if data["role"] == "user"]) == 2


async def test_a_model_that_never_answers_in_json_fails_the_job(workshop: Workshop) -> None:
    workshop.says(*["No."] * 9)
    job, _ = await workshop.do(mode=Mode.QUERY, output=OutputFormat("json"))
    assert job.finished is not None
    assert job.state is JobState.FAILED
    assert job.finished["error"]["code"] == "STRUCTURED_OUTPUT_VALIDATION_ERROR"
    assert job.finished["error"]["details"]["validation_errors"]
    assert (job.finished["structured"], job.finished["turns"]) == (None, 4)


# --- What a client gives ------------------------------------------------------------------------------------------


async def _tell_env(call_input: Any, context: ToolContext) -> str:
    await trio.lowlevel.checkpoint()
    return "it is there" if context.env.get("MY_VAR") == "s3cret-env" else "it is not there"


async def test_secrets_reach_the_job_and_are_not_in_its_log(workshop: Workshop) -> None:
    workshop.tools = (*TOOLS, FakeTool("Env", ToolClass.READ, _tell_env))
    workshop.says(reply(call("Env")), reply("Done.", expect=["it is there"]))
    given: dict[str, Any] = {
        "env": {"MY_VAR": "s3cret-env"},
        "hooks": {"SubagentStop": Hook("http://127.0.0.1:9/x", headers={"X-Key": "s3cret-hook"})},
        "servers": {"demo": McpServer(command="none", env={"TOKEN": "s3cret-server"})},
    }
    async with workshop.open() as engine:
        accepted = await engine.accept(query(**given))
        await ended(accepted.session, accepted.job)
    assert accepted.job.state is JobState.COMPLETED
    session = accepted.session
    assert b"s3cret" not in session.dir.log_path.read_bytes()
    assert session.dir.secrets_path.stat().st_mode & 0o777 == 0o600
    whole = secrets.revealed(session.dir, accepted.job.id, accepted.job.spec)
    assert (whole["env"], whole["servers"]["demo"]["env"]) == (given["env"], {"TOKEN": "s3cret-server"})
    assert whole["hooks"]["SubagentStop"]["headers"] == {"X-Key": "s3cret-hook"}


async def test_the_secrets_of_earlier_jobs_are_forgotten(workshop: Workshop) -> None:
    workshop.says("One.", "Two.")
    async with workshop.open() as engine:
        for env in ({"A": "s3cret"}, {}):
            accepted = await engine.accept(query(env=env))
            await ended(accepted.session, accepted.job)
    assert accepted.session.dir.read_secrets() == {}


async def test_the_conversation_goes_on_from_job_to_job(workshop: Workshop) -> None:
    workshop.says("I will remember 42.", "It was 42.")
    model: Any = workshop.model
    await workshop.do(mode=Mode.QUERY, prompt="Remember 42")
    await workshop.do(mode=Mode.QUERY, prompt="Which number?")
    assert [message.text for message in model.requests[-1].messages] == [
        "Remember 42", "I will remember 42.", "Which number?"
    ]  # fmt: skip


async def test_an_image_of_the_prompt_reaches_a_model_that_sees_and_is_not_in_the_log(workshop: Workshop) -> None:
    workshop.model = ScriptedProvider(["A dot."], vision=True)
    async with workshop.open() as engine:
        session = await engine.create_session("", "agent")
        kept = ImagePart("image/png", session.dir.blobs.put(PNG))
        accepted = await engine.accept(query(images=(kept,), thinking_tokens=2000, user="ada"))
        await ended(accepted.session, accepted.job)
    [request] = workshop.model.requests
    assert Image("image/png", base64.b64encode(PNG).decode(), kept.sha256) in request.messages[0].content
    assert (request.thinking_tokens, request.user) == (2000, "ada")
    assert base64.b64encode(PNG)[:30] not in accepted.session.dir.log_path.read_bytes()


async def test_a_model_that_does_not_see_is_told_that_there_was_an_image(workshop: Workshop) -> None:
    workshop.says("I see nothing.")
    async with workshop.open() as engine:
        session = await engine.create_session("", "agent")
        kept = ImagePart("image/png", session.dir.blobs.put(PNG))
        accepted = await engine.accept(query(images=(kept,)))
        await ended(accepted.session, accepted.job)
    assert "IMAGES_NOT_SEEN" in notices(accepted.session.view.records())
    assert not any(isinstance(block, Image) for block in workshop.model.requests[0].messages[0].content)


async def test_a_settings_file_gives_rules_environment_and_model(workshop: Workshop) -> None:
    workshop.tools = (*TOOLS, FakeTool("Env", ToolClass.READ, _tell_env))
    done = reply("I see.", expect=["denies it"])
    workshop.says(reply(call("Env")), reply(call("Read"), expect=["it is there"]), done)
    settings = {"permissions": {"deny": ["Read"]}, "env": {"MY_VAR": "s3cret-env"}, "model": "scripted"}
    (workshop.workspace / "settings.json").write_text(json.dumps(settings))
    job, _ = await workshop.do(mode=Mode.QUERY, settings="settings.json")
    assert job.state is JobState.COMPLETED


async def test_a_model_of_a_settings_file_that_is_not_there_is_told_and_the_default_does_the_job(
    workshop: Workshop,
) -> None:
    workshop.says("Done.")
    (workshop.workspace / "settings.json").write_text('{"model": "sonnet"}')
    job, records = await workshop.do(mode=Mode.QUERY, settings="settings.json")
    assert job.state is JobState.COMPLETED
    assert "SETTINGS_MODEL" in notices(records)


async def test_a_settings_file_that_cannot_be_used_ends_the_job(workshop: Workshop) -> None:
    job, _ = await workshop.do(mode=Mode.QUERY, settings="settings.json")
    assert job.finished is not None
    assert job.finished["error"]["code"] == "AGENT_ERROR"


async def test_a_rule_that_is_none_is_told(workshop: Workshop) -> None:
    workshop.says("Hello.")
    _, records = await workshop.do(mode=Mode.QUERY, tools=ToolPolicy(rules=Rules(allow=("Bash(",))))
    assert "RULE" in notices(records)


async def test_file_tools_reach_what_is_outside_of_the_workspace_and_permissions_decide(
    workshop: Workshop, tmp_path: Path
) -> None:
    (tmp_path / "beside.txt").write_text("beside\n")
    workshop.tools = FILE_TOOLS
    there, new = str(tmp_path / "beside.txt"), str(tmp_path / "new" / "file.txt")
    workshop.says(
        reply(call("Read", file_path=there)),
        reply(call("Write", file_path=new, content="new\n"), expect=["beside"]),
        reply(call("Grep", pattern="new", path=str(tmp_path / "new"))),
        reply(call("Glob", pattern="*.txt", path=str(tmp_path / "new"))),
        reply(call("LS", path=str(tmp_path / "new"))),
        "Done.",
    )
    policy = ToolPolicy(permission_mode=PermissionMode.ACCEPT_EDITS)
    async with workshop.open() as engine:
        session, job, ask = await asked(engine, tools=policy)
        assert ask.data["tool"] == "Write"
        await engine.settle(ask.id, Settlement("allow", "", "client"))
        await ended(session, job)
        assert all(data["ok"] for data in only(session.view.records(), "tool.finished"))
    assert (tmp_path / "new" / "file.txt").read_text() == "new\n"


async def test_file_tools_do_not_reach_what_is_ours(workshop: Workshop) -> None:
    workshop.tools = FILE_TOOLS
    workshop.says(reply(call("Read", file_path=str(workshop.home.root / "root.ndjson"))), "I see.")
    _, records = await workshop.do(mode=Mode.QUERY)
    assert "off limits" in only(records, "tool.finished")[0]["content"][0]["text"]


async def test_a_job_whose_secrets_cannot_be_read_stays_in_line_and_holds_up_no_other(workshop: Workshop) -> None:
    workshop.says("One.", "Two.")
    async with workshop.open() as engine:
        accepted = await engine.accept(query(env={"A": "s3cret"}))
        await ended(accepted.session, accepted.job)
        session = accepted.session
        whole = session.dir.secrets_path.read_bytes()
        session.dir.secrets_path.write_bytes(b"{")
        engine._backlog.append((session, accepted.job))
        with pytest.raises(StoreFailed, match="secrets are damaged"):
            await engine._start_next()
        assert engine.is_free
        assert len(engine._backlog) == 1
        session.dir.secrets_path.write_bytes(whole)
        engine._backlog.clear()
