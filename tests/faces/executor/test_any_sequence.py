"""Any sequence of requests, restarts in between, against what the contract says of it: executor.md, 4 to 9."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.providers.scripted import Hang, ScriptedProvider, reply
from agentd.store.home import make_home
from agentd.wire.messages import Response
from tests.executorapi import Api, serving
from tests.workshop import Workshop

TEXTS = ("alpha", "beta", "alpha")  # two of them are the same blob
FILES = ("a.py", "b.py")
MARK = "of a job alone"
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED"}


@attrs.define
class Expected:
    """Of one session."""

    made: int = 0
    context: list[tuple[str, str]] = attrs.field(factory=list)  # id and name
    pinned: set[str] = attrs.field(factory=set)
    tasks: list[str] = attrs.field(factory=list)

    def add(self, name: str) -> str:
        self.made += 1
        self.context.append((str(self.made), name or f"Text {self.made}"))
        return str(self.made)


@attrs.define
class World:
    """What was done, and what must be there because of it."""

    workshop: Workshop
    api: Api
    sessions: dict[str, Expected] = attrs.field(factory=dict)
    active: str | None = None
    keys: dict[str, tuple[int, str]] = attrs.field(factory=dict)  # payload and job
    running: str | None = None
    ended: dict[str, str] = attrs.field(factory=dict)  # states

    @property
    def expected(self) -> Expected:
        return self.sessions[self.active or ""]

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        answer = await self.api.ask("POST", path, body, **headers)
        return answer.status, json.loads(answer.body)

    async def ensure_session(self) -> None:
        """Calls that add make one if there is none."""
        if self.active is None:
            self.active = (await self.api.get("/v1/sessions"))["currentSessionId"]
            self.sessions[self.active or ""] = Expected()

    # --- What a client does ---------------------------------------------------------------------------------------

    async def create(self, n: int) -> None:
        status, body = await self.post("/v1/sessions", {"name": f"s{n}"})
        assert status == (409 if self.running else 201)
        if status == 201:
            self.active = body["sessionId"]
            self.sessions[body["sessionId"]] = Expected()

    async def switch(self, n: int) -> None:
        if not self.sessions:
            return
        chosen = sorted(self.sessions)[n % len(self.sessions)]
        status, _ = await self.post("/v1/sessions/switch", {"sessionId": chosen})
        assert status == (409 if self.running else 200)
        if status == 200:
            self.active = chosen

    async def add_text(self, n: int) -> None:
        status, body = await self.post("/v1/context/text", {"text": TEXTS[n % 3]})
        assert status == 200
        await self.ensure_session()
        assert body["id"] == self.expected.add("")

    async def add_file(self, n: int) -> None:
        name = FILES[n % 2]
        status, body = await self.post("/v1/context/files", {"relativePaths": [name, "none"]})
        assert status == 200
        await self.ensure_session()
        is_there = name in [each for _, each in self.expected.context]
        assert [each["id"] for each in body["added"]] == ([] if is_there else [self.expected.add(name)])

    async def pin(self, n: int) -> None:
        status, _ = await self.post("/v1/context/pin", {"id": str(n)})
        known = self.active is not None and str(n) in dict(self.expected.context)
        assert status == (200 if known else 404) or self.running
        if known:
            self.expected.pinned.add(str(n))

    async def drop(self, n: int) -> None:
        status, _ = await self.post("/v1/context/drop", {"ids": [str(n)]})
        known = self.active is not None and str(n) in dict(self.expected.context)
        assert status == (200 if known else 400 if self.active else 404)
        if known:
            self.expected.context = [each for each in self.expected.context if each[0] != str(n)]

    async def drop_all(self, n: int) -> None:
        status, _ = await self.post("/v1/context/drop-all", {})
        assert status == (200 if self.active else 404)
        if self.active:
            self.expected.context = [each for each in self.expected.context if each[0] in self.expected.pinned]

    async def set_tasks(self, n: int) -> None:
        titles = [f"t{i}" for i in range(n % 3)]
        status, _ = await self.post("/v1/tasklist", {"tasks": [{"title": title} for title in titles]})
        assert status == (409 if self.running else 200)
        if status == 200:
            await self.ensure_session()
            self.expected.tasks = titles

    async def start(self, n: int) -> None:
        key, payload = f"k{n % 4}", n % 3
        texts = [f"{MARK} {i}" for i in range(payload)]
        fields = {"taskInput": f"p{payload}", "contextText": texts}
        answer: Response = await self.api.start(key, **fields)
        body = json.loads(answer.body)
        if key in self.keys:
            known, job = self.keys[key]
            assert (answer.status, body.get("jobId")) == ((200, job) if known == payload else (422, None))
        elif self.running:
            assert answer.status == 409
        else:
            assert answer.status == 201
            await self.ensure_session()
            ids = body.get("contextTextFragmentIds", [])
            assert ids == [str(self.expected.made + i + 1) for i in range(payload)]
            self.expected.made += payload
            self.keys[key] = (payload, body["jobId"])
            await self._settle(body["jobId"])

    async def _settle(self, job: str) -> None:
        """A job either ends by itself, or it hangs."""
        with trio.fail_after(10):
            while (status := await self.api.get(f"/v1/jobs/{job}"))["state"] not in TERMINAL:
                events = await self.api.get(f"/v1/jobs/{job}/events")
                if any(event["data"] == "waiting" for event in events):
                    self.running = job
                    return
                await trio.lowlevel.checkpoint()  # requests without a socket do not wait for anything
        self.ended[job] = status["state"]

    async def cancel(self, n: int) -> None:
        if self.running:
            assert (await self.post(f"/v1/jobs/{self.running}/cancel", {}))[1]["cancelRequested"]
            assert (await self.api.finish(self.running))["state"] == "CANCELLED"
            self.ended[self.running], self.running = "CANCELLED", None

    async def copy(self, n: int) -> None:
        """Download the session and upload it under another id."""
        if self.active is None or self.running:
            return
        answer = await self.api.upload(await self.api.download(self.active))
        assert answer.status == 201
        made = json.loads(answer.body)["sessionId"]
        self.sessions[made] = attrs.evolve(
            self.expected,
            context=list(self.expected.context),
            pinned=set(self.expected.pinned),
            tasks=list(self.expected.tasks),
        )
        self.active = made

    # --- What must hold -------------------------------------------------------------------------------------------

    async def check(self) -> None:
        shown = await self.api.get("/v1/context")
        assert shown["sessionId"] == self.active
        assert (await self.api.get("/v1/jobs/status"))["readyForJobSubmission"] is (self.running is None)
        if self.active:
            mine = [(each["id"], each["name"]) for each in shown["fragments"] if each["jobId"] is None]
            assert mine == self.expected.context
            assert [task["title"] for task in (await self.api.get("/v1/tasklist"))["tasks"]] == self.expected.tasks
        assert {each["jobId"] for each in shown["fragments"]} <= {None, self.running}
        for job, state in self.ended.items():
            assert (await self.api.get(f"/v1/jobs/{job}"))["state"] == state
            events = await self.api.get(f"/v1/jobs/{job}/events")
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert len((await self.api.get("/v1/jobs"))["jobs"]) == len(self.keys)
        self._check_disk()

    def _check_disk(self) -> None:
        files = [path for path in self.workshop.home.root.rglob("*") if path.is_file()]
        with_mark = [path for path in files if MARK.encode() in path.read_bytes()]
        assert all("blobs" in path.parts for path in with_mark)
        assert self.running or with_mark == []


Step = Callable[[World, int], Awaitable[None]]
STEPS: list[Step] = [
    *(World.create, World.switch, World.add_text, World.add_file, World.pin, World.drop, World.drop_all),
    *(World.set_tasks, World.start, World.start, World.start, World.cancel, World.copy),
]
restart = st.none()
steps = st.lists(st.one_of(st.tuples(st.sampled_from(STEPS), st.integers(1, 6)), restart), max_size=14)


async def play(root: Path, script: list[tuple[Step, int] | None], hangs: list[bool]) -> None:
    (root / "workspace").mkdir()
    for name in FILES:
        (root / "workspace" / name).write_text(name)
    workshop = Workshop(make_home(root / "home"), root / "workspace", ScriptedProvider([]))
    world: World | None = None
    left = list(script)
    while left or world is None:
        answers = hangs[len(world.keys) if world else 0 :]
        workshop.says(*(reply("waiting", Hang()) if hang else reply("done") for hang in answers))
        async with serving(workshop) as api:
            world = World(workshop, api) if world is None else attrs.evolve(world, api=api)
            await world.check()
            while left and (step := left.pop(0)) is not None:
                await step[0](world, step[1])
                await world.check()
        if world.running:  # the engine has closed
            world.ended[world.running], world.running = "CANCELLED", None


@settings(max_examples=40, deadline=None)
@given(steps, st.lists(st.booleans(), min_size=4, max_size=4))
def test_any_sequence_of_requests_keeps_the_contract(script: list[tuple[Step, int] | None], hangs: list[bool]) -> None:
    with tempfile.TemporaryDirectory() as root:
        trio.run(play, Path(root), script, hangs)
