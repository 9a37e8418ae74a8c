"""What models are offered and told: each answer fits its schema, and what goes wrong says what to do instead."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agentd.faces.mcp import following, jobs, resources
from agentd.faces.mcp.tools import TOOLS
from agentd.providers.scripted import Fail, Hang, call, reply
from agentd.wire.jsonschema import compile_schema
from tests.faces.mcp.mcpapi import Api, Talk, serving

ERA = pytest.mark.parametrize("stateless", [False, True], ids=["handshake", "stateless"])


async def talk_of(api: Api, *, stateless: bool = False) -> Talk:
    return api.stateless() if stateless else await api.begin()


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: str(tool.name))
def test_every_tool_has_schemas_and_says_what_it_does(tool: object) -> None:
    shown = tool.shown()  # type: ignore[attr-defined]
    for schema in (shown["inputSchema"], shown["outputSchema"]):
        compile_schema(schema)
        assert schema["type"] == "object"
    assert shown["inputSchema"]["additionalProperties"] is False
    assert all(each["description"] for each in shown["inputSchema"]["properties"].values())
    hints = shown["annotations"]
    assert hints["readOnlyHint"] or {"destructiveHint", "idempotentHint"} <= set(hints)


@ERA
async def test_a_job_is_begun_followed_and_done(tmp_path: Path, stateless: bool) -> None:
    async with serving(tmp_path, reply("Reading it.", call("Read", about="a.py")), "It adds numbers.") as api:
        talk = await talk_of(api, stateless=stateless)
        began = await talk.tool("start_job", prompt="what is it?", directory=str(api.workspace))
        told = await talk.tool("follow_job", job_id=began["job"]["job_id"], position=began["position"], wait_seconds=10)
        assert told["job"]["state"] == "completed"
        assert told["result"] == "It adds numbers."
        events = began["events"] + told["events"]
        assert [(event["type"], event["text"]) for event in events] == [
            ("assistant", "Reading it."),
            ("tool", "Read a.py: done"),
            ("assistant", "It adds numbers."),
            ("finished", "completed"),
        ]
        again = await talk.tool("follow_job", job_id=began["job"]["job_id"], position=told["position"])
        assert (again["events"], again["result"]) == ([], "It adds numbers.")
        status = await talk.tool("job_status", job_id=began["job"]["job_id"])
        assert (status["job"], status["result"]) == (told["job"], "It adds numbers.")


async def test_a_job_may_be_waited_for_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, "Done.") as api:
        talk = await api.begin()
        told = await talk.tool("start_job", prompt="go", directory=str(api.workspace), wait_seconds=10)
        assert (told["job"]["state"], told["job"]["mode"], told["result"]) == ("completed", "ask", "Done.")


async def test_a_session_goes_on_with_what_was_said(tmp_path: Path) -> None:
    async with serving(tmp_path, "One.", "Two.") as api:
        talk = await api.begin()
        first = await talk.tool("start_job", prompt="first words", directory=str(api.workspace), wait_seconds=10)
        session = first["job"]["session_id"]
        second = await talk.tool("start_job", prompt="and then?", session=session, wait_seconds=10)
        assert (second["job"]["session_id"], second["result"]) == (session, "Two.")
        assert "first words" in str(api.seats.model.requests[1])
        listed = await talk.tool("list_jobs", session=session)
        assert [job["title"] for job in listed["jobs"]] == ["and then?", "first words"]
        [shown] = (await talk.tool("list_sessions", words="first"))["sessions"]
        assert (shown["session_id"], shown["jobs"], shown["face"]) == (session, 2, "mcp")
        assert "works in" in await talk.refusal("start_job", prompt="x", session=session, directory=str(tmp_path))


async def test_lists_are_given_in_pages(tmp_path: Path) -> None:
    async with serving(tmp_path, "One.", "Two.") as api:
        talk = await api.begin()
        for prompt in ("one", "two"):
            api.says("Done.")
            await talk.tool("start_job", prompt=prompt, directory=str(api.workspace), wait_seconds=10)
        page = await talk.tool("list_jobs", limit=1, state="completed")
        assert [job["title"] for job in page["jobs"]] == ["two"]
        rest = await talk.tool("list_jobs", limit=1, cursor=page["next"])
        assert [job["title"] for job in rest["jobs"]] == ["one"]
        assert "cursor" in await talk.refusal("list_jobs", cursor="nothing")


async def test_a_job_is_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path, reply(Hang())) as api:
        talk = await api.begin()
        began = await talk.tool("start_job", prompt="go", directory=str(api.workspace))
        job = began["job"]["job_id"]
        told = await talk.tool("cancel_job", job_id=job)
        assert (told["cancelled"], told["job"]["state"]) == (True, "cancelled")
        assert (await talk.tool("cancel_job", job_id=job))["cancelled"] is False


async def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path, reply(Fail("no credit left"))) as api:
        talk = await api.begin()
        told = await talk.tool("start_job", prompt="go", directory=str(api.workspace), wait_seconds=10)
        assert told["job"]["state"] == "failed"
        assert "no credit left" in told["job"]["error"]
        assert "no credit left" in told["events"][-1]["text"]


async def test_an_answer_that_is_full_says_that_there_is_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "EVENT_CHARS", 10)
    monkeypatch.setattr(following, "PAGE_RECORDS", 1)
    async with serving(tmp_path, reply("First I say this.", call("Read", about="a")), "Done.") as api:
        talk = await api.begin()
        told = await talk.tool("start_job", prompt="go", directory=str(api.workspace), wait_seconds=10)
        assert (told["more"], [event["text"] for event in told["events"]]) == (True, ["First I say this."])
        texts, job = [], told["job"]["job_id"]
        while not told["job"]["done"] or told["more"]:
            told = await talk.tool("follow_job", job_id=job, position=told["position"])
            texts += [event["text"] for event in told["events"]]
        assert texts == ["Read a: done", "Done.", "completed"]


async def test_a_position_of_another_log_begins_anew(tmp_path: Path) -> None:
    async with serving(tmp_path, "Done.") as api:
        talk = await api.begin()
        told = await talk.tool("start_job", prompt="go", directory=str(api.workspace), wait_seconds=10)
        again = await talk.tool("follow_job", job_id=told["job"]["job_id"], position="500")
        assert again["reset"]
        assert again["events"] == told["events"]
        assert "position" in await talk.refusal("follow_job", job_id=told["job"]["job_id"], position="nowhere")


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("start_job", {"directory": "."}, "missing @ prompt"),
        ("start_job", {"prompt": " ", "directory": "/"}, "blank"),
        ("start_job", {"prompt": "x" * (jobs.PROMPT_CHARS + 1), "directory": "/"}, "characters"),
        ("start_job", {"prompt": "go"}, "absolute path"),
        ("start_job", {"prompt": "go", "directory": "here"}, "no absolute path"),
        ("start_job", {"prompt": "go", "directory": "/no/such/place"}, "not a directory"),
        ("start_job", {"prompt": "go", "directory": "/\0"}, "not a directory"),
        ("start_job", {"prompt": "go", "directory": "/", "mode": "chat"}, "expected one of"),
        ("start_job", {"prompt": "go", "directory": "/", "wait_seconds": -1}, "0 or more"),
        ("start_job", {"prompt": "go", "directory": "/", "modes": "ask"}, "no argument modes; it takes prompt"),
        ("start_job", {"prompt": "go", "session": "nobody"}, "list_sessions"),
        ("follow_job", {"job_id": "nobody"}, "list_jobs"),
        ("job_status", {"job_id": 7}, "expected a string"),
        ("job_diff", {"job_id": "nobody"}, "list_jobs"),
        ("cancel_job", {}, "missing @ job_id"),
        ("list_jobs", {"limit": 0}, "at least 1"),
        ("list_asks", {"job_id": "nobody"}, "list_jobs"),
        ("answer_ask", {"ask_id": "nobody", "decision": "allow"}, "list_asks"),
        ("search", {"pattern": "(", "directory": "/"}, "regular expression"),
        ("symbols", {"action": "find", "directory": "/"}, "needs name"),
    ],
)
async def test_what_cannot_be_done_says_why(tmp_path: Path, name: str, arguments: dict[str, object], says: str) -> None:
    async with serving(tmp_path) as api:
        talk = api.stateless()
        assert says in await talk.refusal(name, **arguments)


@ERA
async def test_a_call_of_no_tool_is_an_error_of_the_protocol(tmp_path: Path, stateless: bool) -> None:
    async with serving(tmp_path) as api:
        talk = await talk_of(api, stateless=stateless)
        for params in ({"name": "nope"}, {"name": "search", "arguments": "x"}, {}):
            assert (await talk.error("tools/call", **params))["code"] == -32602


async def test_the_data_directory_is_not_for_work(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        (api.home.root / "tokens").mkdir(exist_ok=True)
        for name, arguments in (("search", {"pattern": "x"}), ("start_job", {"prompt": "x"})):
            said = await talk.refusal(name, directory=str(api.home.root / "tokens"), **arguments)
            assert "belongs to agentd" in said
        above = await talk.tool("search", pattern="session", directory=str(tmp_path))
        assert "data/" not in above["text"]


async def test_files_are_searched_without_a_job(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        (api.workspace / "a.py").write_text("def add(a, b):\n    return a + b\n")
        (api.workspace / "b.txt").write_text("Add it\n")
        talk = await api.begin()
        place = str(api.workspace)
        assert (await talk.tool("search", pattern="add", directory=place))["text"] == "a.py:1:def add(a, b):"
        found = await talk.tool("search", pattern="add", directory=place, ignore_case=True, show="files")
        assert sorted(found["text"].splitlines()) == ["a.py", "b.txt"]
        found = await talk.tool("search", pattern="add", directory=place, glob="*.txt")
        assert found["text"] == "No matches found"
        assert "outside" in await talk.refusal("search", pattern="x", directory=place, path="../data")
        assert not (await talk.tool("list_jobs"))["jobs"]


async def test_symbols_are_looked_up_without_a_job(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        source = "def add(a, b):\n    return a + b\n\n\nclass Users:\n    def find(self):\n        return add(1, 2)\n"
        (api.workspace / "app.py").write_text(source)
        talk = await api.begin()
        place = str(api.workspace)
        wanted = {
            ("find", "name", "fin"): "app.py:6: method app.Users.find",
            ("outline", "path", "app.py"): "class Users",
            ("source", "name", "Users.find"): "return add(1, 2)",
            ("skeleton", "name", "Users"): "def find(self)",
            ("usages", "name", "add"): "app.py:7:",
        }
        for (action, key, value), text in wanted.items():
            told = await talk.tool("symbols", action=action, directory=place, **{key: value})
            assert text in told["text"]
        assert "called nobody" in await talk.refusal("symbols", action="source", name="nobody", directory=place)


def git(place: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=place, check=True, capture_output=True
    )


async def test_changes_need_a_repository(tmp_path: Path) -> None:
    async with serving(tmp_path, "Done.") as api:
        talk = await api.begin()
        told = await talk.tool("start_job", prompt="go", directory=str(api.workspace), wait_seconds=10)
        assert "git init" in await talk.refusal("job_diff", job_id=told["job"]["job_id"])
        git(api.workspace, "init", "-q")
        assert (await talk.tool("job_diff", job_id=told["job"]["job_id"]))["diff"] == ""


@ERA
async def test_a_session_leaves_resources(tmp_path: Path, stateless: bool) -> None:
    async with serving(tmp_path, "It is done.") as api:
        talk = await talk_of(api, stateless=stateless)
        await talk.tool("start_job", prompt="go on", directory=str(api.workspace), wait_seconds=10)
        [listed] = (await talk.result("resources/list"))["resources"]
        assert (listed["title"], listed["mimeType"]) == ("go on", "text/markdown")
        [content] = (await talk.result("resources/read", uri=listed["uri"]))["contents"]
        assert content["uri"] == listed["uri"]
        assert "It is done." in content["text"]
        templates = (await talk.result("resources/templates/list"))["resourceTemplates"]
        assert [each["name"] for each in templates] == ["transcript", "diff"]
        gone = -32602 if stateless else -32002
        for uri in ("agentd://sessions/00000000-0000-0000-0000-000000000000/diff", "file:///etc/passwd"):
            assert (await talk.error("resources/read", uri=uri))["code"] == gone
        assert (await talk.error("resources/read"))["code"] == -32602
        assert (await talk.error("resources/list", cursor=7))["code"] == -32602
        assert (await talk.error("resources/list", cursor="nothing"))["code"] == -32602


async def test_a_transcript_that_is_long_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MOST_BYTES", 100)
    async with serving(tmp_path, "ü" * 500) as api:
        talk = await api.begin()
        await talk.tool("start_job", prompt="go on", directory=str(api.workspace), wait_seconds=10)
        [listed] = (await talk.result("resources/list"))["resources"]
        [content] = (await talk.result("resources/read", uri=listed["uri"]))["contents"]
        assert content["text"].endswith("[cut here: the rest is not shown]\n")


# --- Who may do what ----------------------------------------------------------------------------------------------


async def test_a_token_sees_what_it_made(tmp_path: Path) -> None:
    async with serving(tmp_path, "Done.") as api:
        admin = await api.begin()
        made = await admin.tool("start_job", prompt="go", directory=str(api.workspace), wait_seconds=10)
        api.token, _ = await api.server.app.access.issue(["mcp"])
        talk = await api.begin()
        assert (await talk.tool("list_jobs"))["jobs"] == (await talk.tool("list_sessions"))["sessions"] == []
        job, session = made["job"]["job_id"], made["job"]["session_id"]
        for name in ("job_status", "follow_job", "cancel_job", "job_diff"):
            assert "no job" in await talk.refusal(name, job_id=job)
        assert "no session" in await talk.refusal("start_job", prompt="x", session=session)
        uri = f"agentd://sessions/{session}/transcript"
        assert (await talk.error("resources/read", uri=uri))["code"] == -32002
        api.says("Done.")
        own = await talk.tool("start_job", prompt="mine", directory=str(api.workspace), wait_seconds=10)
        assert [each["title"] for each in (await talk.tool("list_jobs"))["jobs"]] == ["mine"]
        assert {each["job_id"] for each in (await admin.tool("list_jobs"))["jobs"]} == {job, own["job"]["job_id"]}


async def test_a_token_works_only_below_its_roots(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        api.token, _ = await api.server.app.access.issue(["mcp"], roots=[str(tmp_path / "elsewhere")])
        talk = await api.begin()
        for name, arguments in (("start_job", {"prompt": "x"}), ("search", {"pattern": "x"})):
            assert "not for work in" in await talk.refusal(name, directory=str(api.workspace), **arguments)


async def test_a_viewer_only_looks_and_an_approver_only_answers(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        looks = {"follow_job", "job_status", "list_jobs", "list_sessions", "job_diff"}
        for scope, names in (("viewer", looks | {"list_asks"}), ("approver", {"list_asks", "answer_ask"})):
            api.token, _ = await api.server.app.access.issue([scope])
            talk = await api.begin()
            assert {tool["name"] for tool in (await talk.result("tools/list"))["tools"]} == names
            assert (await talk.error("tools/call", name="start_job"))["code"] == -32602


async def test_a_job_of_a_model_that_is_not_there_says_its_code_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        told = await talk.tool("start_job", prompt="go", directory=str(api.workspace), model="zzz", wait_seconds=10)
    assert told["job"]["error"].startswith("MODEL_UNAVAILABLE: zzz. ")
