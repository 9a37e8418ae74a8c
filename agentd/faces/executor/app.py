"""What the handlers of the executor API share: the engine, the guard, and the table that they put themselves into."""

from __future__ import annotations

import hmac
from collections import OrderedDict

import attrs

from agentd.engine.engine import Engine
from agentd.faces.executor.answers import mount, problem
from agentd.faces.executor.events import JobEvents
from agentd.wire.feed import Feed
from agentd.wire.messages import Request, Response
from agentd.wire.routing import Mount, Routes

PUBLIC = frozenset({"/health/live", "/health/ready", "/v1/executor"})
INDEXES_KEPT = 64  # of jobs whose events were asked for last

routes = Routes()


@attrs.define
class App:
    """What the handlers share: the engine, and an index for each job that somebody reads."""

    engine: Engine
    exec_id: str
    token: str
    ready: bool = True
    _indexes: OrderedDict[str, tuple[JobEvents, Feed]] = attrs.field(factory=OrderedDict)
    _last_seqs: dict[str, tuple[int, int]] = attrs.field(factory=dict)  # by job: position of its last record, and this

    @property
    def is_free(self) -> bool:
        """Whether a job would be taken now."""
        return self.ready and self.engine.is_free

    def events(self, job_id: str) -> tuple[JobEvents, Feed]:
        """Raises JobNotFound."""
        session, job = self.engine.find_job(job_id)
        if job.id not in self._indexes:
            index = JobEvents(session, job.id)
            self._indexes[job.id] = (index, Feed(index))
        self._indexes.move_to_end(job.id)
        while len(self._indexes) > INDEXES_KEPT:
            self._indexes.popitem(last=False)
        return self._indexes[job.id]

    def last_seq(self, job_id: str) -> int:
        """The number of the job's last event until now. Raises JobNotFound."""
        session, job = self.engine.find_job(job_id)
        if self._last_seqs.get(job.id, (0, 0))[0] != job.last:
            self._last_seqs[job.id] = (job.last, JobEvents(session, job.id).count)
        return self._last_seqs[job.id][1]

    def close_feeds(self) -> None:
        """End the streams of events: the server is stopping."""
        for _, feed in self._indexes.values():
            feed.close()

    def mount(self) -> Mount:
        return mount(routes, self)

    def guard(self, request: Request) -> Response | None:
        """None for who may go on. It looks at nothing but the path and the token."""
        if request.path.rstrip("/") in PUBLIC or not request.path.startswith(("/v1/", "/health/")):
            return None
        given = request.headers.get("authorization")
        if hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            return None
        return problem(401, "UNAUTHORIZED", "Unauthorized")
