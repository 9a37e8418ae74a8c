"""The context over the executor API: fragments of sessions and of jobs. The contract: executor.md, 6, 7.1 and 15."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.providers.scripted import Hang, reply
from agentd.wire.messages import Response
from agentd.workspace.symbols.query import Symbols
from tests.executorapi import Api, code, serving
from tests.workshop import Workshop

SECRET = "the-heron-flies-at-noon"


CLASSES = "class One:\n    def run(self):\n        return 1\n\n\nclass Two:\n    pass\n"


@pytest.fixture
def workshop(workshop: Workshop) -> Workshop:
    for name in ("a.py", "b.py", "dir/c.py"):
        path = workshop.workspace / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name}\n")
    (workshop.workspace / "a.py").write_text(CLASSES)
    workshop.symbols = Symbols(workshop.workspace, workshop.home.root / "symbols")
    return workshop


def said(answer: Response) -> Any:
    assert answer.status in (200, 201), answer.body
    return json.loads(answer.body)


async def add_files(api: Api, *paths: str) -> Response:
    return await api.ask("POST", "/v1/context/files", {"relativePaths": list(paths)})


async def add_text(api: Api, text: str) -> Response:
    return await api.ask("POST", "/v1/context/text", {"text": text})


async def names(api: Api) -> list[str]:
    return [fragment["name"] for fragment in (await api.get("/v1/context"))["fragments"]]


def holding(root: Path, text: str, *, blobs: bool = False) -> list[Path]:
    """Files below *root* with *text* in them, in no matter which session; *blobs*: there too."""
    files = [path for path in root.rglob("*") if path.is_file() and (blobs or "blobs" not in path.parts)]
    return [path for path in files if text.encode() in path.read_bytes()]


# --- Adding -------------------------------------------------------------------------------------------------------


async def test_files_are_added_in_the_order_of_the_request(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        answer = said(await add_files(api, "b.py", " dir/../a.py ", "./dir//c.py"))
        assert answer["added"] == [
            {"id": "1", "relativePath": "b.py"},
            {"id": "2", "relativePath": "a.py"},
            {"id": "3", "relativePath": "dir/c.py"},
        ]


async def test_a_file_that_is_there_already_is_left_out(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        said(await add_files(api, "a.py", "a.py"))
        assert said(await add_files(api, "dir/../a.py")) == {"added": []}
        assert said(await add_files(api, "a.py", "b.py"))["added"] == [{"id": "2", "relativePath": "b.py"}]


async def test_what_is_valid_is_added_and_the_rest_left_out(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        answer = said(await add_files(api, "none.py", "a.py", " ", "dir"))
        assert [entry["relativePath"] for entry in answer["added"]] == ["a.py"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (" ", "is blank"),
        ("none.py", "there is no such file"),
        ("dir", "is no regular file"),
        ("/etc/passwd", "absolute"),
        ("../home/x", "outside the workspace"),
        ("dir/../../workspace/../x", "outside the workspace"),
        ("out", "outside the workspace"),
        ("out/passwd", "outside the workspace"),
        (".agentd/root.ndjson", "off limits"),
        ("a\0b", "NUL"),
        ("x" * 5000, "too long"),
        ("x" * 300, "no such file"),
    ],
)
async def test_a_path_that_cannot_be_added_is_named_with_the_reason(workshop: Workshop, path: str, why: str) -> None:
    workshop.home = attrs.evolve(workshop.home, root=workshop.workspace / ".agentd")
    workshop.home.make()
    (workshop.workspace / "out").symlink_to("/etc")
    async with serving(workshop) as api:
        answer = await add_files(api, path)
        assert code(answer) == (400, "VALIDATION_ERROR")
        message = json.loads(answer.body)["message"]
        assert "No valid relative paths provided" in message
        assert why in message
        assert len(message) < 6000


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("files", {"relativePaths": []}, "relativePaths must not be empty"),
        ("classes", {"classNames": []}, "classNames must not be empty"),
        ("methods", {"methodNames": []}, "methodNames must not be empty"),
        ("files", {}, "relativePaths"),
        ("files", {"relativePaths": None}, "relativePaths"),
        ("files", {"relativePaths": "a.py"}, "relativePaths"),
        ("files", {"relativePaths": [5]}, "relativePaths[0]"),
        ("files", {"relativePaths": ["x"] * 1001}, "at most 1000"),
        ("text", {}, "text"),
        ("text", {"text": " \n\t"}, "must not be blank"),
        ("text", {"text": "é" * (1 << 19) + "x"}, "must not be larger"),
        ("drop", {"ids": []}, "ids must not be empty"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(workshop: Workshop, path: str, body: Any, message: str) -> None:
    async with serving(workshop) as api:
        answer = await api.ask("POST", f"/v1/context/{path}", body)
        assert code(answer) == (400, "VALIDATION_ERROR")
        assert message in json.loads(answer.body)["message"]
        assert (await api.get("/v1/context"))["fragments"] == []


async def test_classes_and_methods_count_on_from_the_files(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        said(await add_files(api, "a.py"))
        classes = await api.ask("POST", "/v1/context/classes", {"classNames": [" a.Two", "a.None", "a.One"]})
        methods = await api.ask("POST", "/v1/context/methods/", {"methodNames": ["a.One.run"]})
        assert said(classes)["added"] == [{"id": "2", "className": "a.Two"}, {"id": "3", "className": "a.One"}]
        assert said(methods)["added"] == [{"id": "4", "methodName": "a.One.run"}]


@pytest.mark.parametrize(
    ("path", "field", "name", "why"),
    [
        ("classes", "classNames", "a.One.run", "is not a class"),
        ("classes", "classNames", "a.Three", "is unknown"),
        ("methods", "methodNames", "a.One", "is not a function or method"),
        ("methods", "methodNames", " ", "is blank"),
    ],
)
async def test_a_definition_that_there_is_not_is_named_with_the_reason(
    workshop: Workshop, path: str, field: str, name: str, why: str
) -> None:
    async with serving(workshop) as api:
        answer = await api.ask("POST", f"/v1/context/{path}", {field: [name]})
        assert code(answer) == (400, "VALIDATION_ERROR")
        assert why in json.loads(answer.body)["message"]


async def test_a_text_of_exactly_a_mebibyte_is_taken_and_its_characters_are_counted(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        assert said(await add_text(api, "é" * (1 << 19))) == {"id": "1", "chars": 1 << 19}
        assert said(await add_text(api, "🙂!")) == {"id": "2", "chars": 2}


async def test_without_a_session_adding_makes_one_and_the_rest_says_so(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        assert (await api.get("/v1/context")) == {"sessionId": None, "fragments": []}
        for method, path, body in [
            ("GET", "fragments/1", None),
            ("POST", "drop-all", {}),
            ("POST", "drop", {"ids": ["1"]}),
        ]:
            answer = await api.ask(method, f"/v1/context/{path}", body)
            assert (code(answer), json.loads(answer.body)["message"]) == ((404, "NOT_FOUND"), "No session loaded")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add_text, api, "one")
            nursery.start_soon(add_text, api, "two")
        assert len((await api.get("/v1/sessions"))["sessions"]) == 1
        assert len(await names(api)) == 2


@pytest.mark.parametrize("path", ["", "/files", "/text", "/drop", "/fragments/1"])
async def test_another_method_is_told_which_are_right(workshop: Workshop, path: str) -> None:
    async with serving(workshop) as api:
        answer = await api.ask("DELETE", f"/v1/context{path}")
        assert code(answer) == (405, "METHOD_NOT_ALLOWED")
        assert "Method not allowed" in json.loads(answer.body)["message"]


# --- Reading, dropping, pinning -----------------------------------------------------------------------------------


async def test_a_fragment_is_read_as_it_is_now(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        said(await add_files(api, "a.py"))
        (workshop.workspace / "a.py").write_text("new")
        assert (await api.get("/v1/context/fragments/1"))["text"] == "new"
        (workshop.workspace / "a.py").unlink()
        gone = await api.get("/v1/context/fragments/1")
        assert (gone["text"], "does not exist" in gone["missing"]) == (None, True)
        assert code(await api.ask("GET", "/v1/context/fragments/7")) == (404, "NOT_FOUND")


async def test_the_list_says_what_there_is_and_counts_if_asked(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        said(await add_files(api, "b.py"))
        said(await add_text(api, "ünf"))
        told = (await api.get("/v1/context?tokens=true"))["fragments"]
        plain = {"id": "1", "kind": "file", "name": "b.py", "size": 0, "pinned": False, "jobId": None}
        assert told[0] == plain | {"chars": 7, "tokens": 2}
        assert (told[1]["name"], told[1]["size"], told[1]["chars"]) == ("Text 2", 4, 3)
        assert "tokens" not in (await api.get("/v1/context?tokens=false"))["fragments"][0]


async def test_a_dropped_text_is_gone_from_the_disk_and_its_id_is_not_used_again(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        said(await add_text(api, SECRET))
        said(await add_files(api, "a.py"))
        assert said(await api.ask("POST", "/v1/context/drop", {"ids": ["2", "1", "9"]})) == {"dropped": ["2", "1"]}
        assert holding(workshop.home.root, SECRET, blobs=True) == []
        assert said(await add_text(api, "more"))["id"] == "3"
        assert code(await api.ask("POST", "/v1/context/drop", {"ids": ["1"]})) == (400, "VALIDATION_ERROR")


async def test_a_text_that_was_added_twice_stays_until_both_are_dropped(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        said(await add_text(api, SECRET))
        said(await add_text(api, SECRET))
        said(await api.ask("POST", "/v1/context/drop", {"ids": ["1"]}))
        assert (await api.get("/v1/context/fragments/2"))["text"] == SECRET


async def test_pinned_fragments_survive_dropping_all(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        said(await add_files(api, "a.py", "b.py"))
        said(await api.ask("POST", "/v1/context/pin", {"id": "2"}))
        assert said(await api.ask("POST", "/v1/context/drop-all", {})) == {"dropped": ["1"]}
        assert said(await api.ask("POST", "/v1/context/drop-all", {})) == {"dropped": []}
        assert await names(api) == ["b.py"]
        assert code(await api.ask("POST", "/v1/context/pin", {"id": "1"})) == (404, "NOT_FOUND")


async def test_the_context_is_there_after_a_restart(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        said(await add_files(api, "a.py"))
        said(await add_text(api, SECRET))
        said(await api.ask("POST", "/v1/context/pin", {"id": "2", "pinned": True}))
    async with serving(workshop) as api:
        assert await names(api) == ["a.py", "Text 2"]
        assert (await api.get("/v1/context/fragments/2"))["text"] == SECRET
        assert said(await add_text(api, "more"))["id"] == "3"


# --- Texts of a job -----------------------------------------------------------------------------------------------


async def test_texts_of_a_job_are_named_in_its_answer_and_gone_when_it_ends(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with serving(workshop) as api:
        made = said(await api.start(contextText=[SECRET], context={"text": [f"{SECRET} too"]}))
        assert made["contextTextFragmentIds"] == ["1", "2"]
        await api.finish(made["jobId"])
        assert await names(api) == []
        assert holding(workshop.home.root, SECRET, blobs=True) == []
        assert said(await add_text(api, "more"))["id"] == "3"


async def test_while_a_job_runs_its_texts_are_listed_and_more_can_be_added(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with serving(workshop) as api:
        made = said(await api.start(contextText=[SECRET]))
        said(await add_files(api, "a.py"))
        assert [each["jobId"] for each in (await api.get("/v1/context"))["fragments"]] == [made["jobId"], None]
        assert (await api.get("/v1/context/fragments/1"))["text"] == SECRET
        assert code(await api.ask("POST", "/v1/context/drop", {"ids": ["1"]})) == (400, "VALIDATION_ERROR")
        await api.ask("POST", f"/v1/jobs/{made['jobId']}/cancel")
        await api.finish(made["jobId"])
        assert await names(api) == ["a.py"]
        assert holding(workshop.home.root, SECRET, blobs=True) == []


async def test_a_text_that_the_session_has_too_survives_the_job(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with serving(workshop) as api:
        said(await add_text(api, SECRET))
        await api.finish(said(await api.start(contextText=[SECRET]))["jobId"])
        assert (await api.get("/v1/context/fragments/1"))["text"] == SECRET


@pytest.mark.parametrize(
    "fields",
    [
        {"contextText": ["good", " "]},
        {"contextText": ["good", "x" * ((1 << 20) + 1)]},
        {"contextText": [5]},
        {"contextText": "text"},
        {"contextText": ["x"] * 101},
        {"context": {"text": ["good", ""]}},
        {"context": ["good"]},
    ],
)
async def test_one_text_that_is_wrong_refuses_the_job_and_leaves_nothing(
    workshop: Workshop, fields: dict[str, Any]
) -> None:
    async with serving(workshop) as api:
        assert code(await api.start(**fields)) == (400, "VALIDATION_ERROR")
        assert (await api.get("/v1/jobs"))["jobs"] == []
        assert (await api.get("/v1/context"))["fragments"] == []
        assert holding(workshop.home.root, "good", blobs=True) == []


async def test_a_job_that_is_refused_or_replayed_adds_no_texts(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with serving(workshop) as api:
        said(await api.start("a", contextText=["one"]))
        assert code(await api.start("b", contextText=["the second"])) == (409, "JOB_IN_PROGRESS")
        assert "contextTextFragmentIds" not in said(await api.start("a", contextText=["one"]))
        assert await names(api) == ["Text 1"]
        assert holding(workshop.home.root, "the second", blobs=True) == []


async def test_empty_lists_of_texts_count_as_none(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with serving(workshop) as api:
        made = said(await api.start(contextText=[], context={"text": []}))
        assert "contextTextFragmentIds" not in made
        await api.finish(made["jobId"])


async def test_no_log_and_no_diagnostic_has_a_word_of_a_text(
    workshop: Workshop, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    workshop.says("Done.")
    async with serving(workshop) as api:
        said(await add_text(api, SECRET))
        await api.finish(said(await api.start("a", contextText=[f"job {SECRET}"]))["jobId"])
        refused = [
            await add_text(api, SECRET * (1 << 17)),
            await api.start("b", contextText=[SECRET, SECRET * (1 << 17)]),
            await api.start("c", contextText=[SECRET, 5]),
            await api.start("d", context={"text": [[SECRET]]}),
            await api.ask("POST", "/v1/context/text", f'{{"text": "{SECRET}'.encode()),
            await api.ask("POST", "/v1/context/text", {"text": [SECRET]}),
        ]
        assert [answer.status for answer in refused] == [400] * len(refused)
        assert SECRET.encode() not in b"".join(answer.body for answer in refused)
    assert holding(workshop.home.root, SECRET) == []
    told = capfd.readouterr()
    assert SECRET not in told.out + told.err + caplog.text
