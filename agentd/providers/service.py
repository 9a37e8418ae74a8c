"""A language model service over HTTP: thin glue between a format, which is bytes and values, and the HTTP client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

import trio

from agentd.providers.errorbody import READ_BYTES
from agentd.providers.failures import Target, classify, network_failure
from agentd.providers.protocol import ModelRequest, RequestSent, StreamEvent
from agentd.providers.requestbody import Encoded
from agentd.wire.exchange import Deadlines
from agentd.wire.failure import HttpFailed
from agentd.wire.messages import Fields, Headers
from agentd.wire.urls import parse_url

# A model may think, or a small machine read a long prompt, for minutes before the first word; later it sends all along.
# In all, a reply takes less than two hours: gateways send pings for ever, whatever became of the model behind them.
DEADLINES = Deadlines(connect=10.0, first_byte=600.0, between_bytes=120.0, total=7200.0)
DRAIN_SECONDS = 0.5  # for the end of an answer whose reply is complete, so that its connection can be used again
SECRET_CHARS = 8  # a header's value of so many characters is taken for a secret

_CONTENT = (("Content-Type", "application/json"), ("Accept", "text/event-stream, application/json"))


class Answer(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...
    def chunks(self) -> AsyncIterator[bytes]: ...


class Client(Protocol):
    """What is used of wire.http.HttpClient. Raises HttpFailed, also while an answer is read."""

    def stream(
        self, method: str, url: str, *, headers: Fields, body: bytes, deadlines: Deadlines
    ) -> AbstractAsyncContextManager[Answer]: ...


class Decoder(Protocol):
    @property
    def finished(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    def feed(self, data: bytes) -> Iterator[StreamEvent]: ...
    def close(self) -> Iterator[StreamEvent]: ...


class Options(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


O = TypeVar("O", bound=Options)  # noqa: E741


class Service(Generic[O]):
    """A provider: subclasses say in which format. *client* is called when a request is made, and may well give the same
    each time. Raises InvalidUrl."""

    def __init__(
        self,
        name: str,
        base_url: str,
        models: Sequence[str],
        options: O,
        client: Callable[[], Client],
        *,
        by_model: Mapping[str, O] | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        self._name = name
        self._base_url = base_url
        self._at = parse_url(base_url)
        self._models = tuple(models)
        self._options = options
        self._by_model = by_model or {}
        self._client = client
        self._deadlines = deadlines

    @property
    def name(self) -> str:
        return self._name

    def models(self) -> tuple[str, ...]:
        return self._models

    def encode(self, request: ModelRequest, options: O) -> Encoded:
        raise NotImplementedError

    def decoder(self, target: Target) -> Decoder:
        raise NotImplementedError

    def base_path(self, path: str) -> str:
        """Where the format's paths begin on a server whose base URL has this path, which ends without a slash."""
        return path

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        """The reply as it comes. Raises a ServiceFailed, before or midway."""
        options = self._by_model.get(request.model, self._options)
        target = self._target(request.model, options)
        encoded = self.encode(request, options)
        sent = self._client().stream(
            "POST",
            self._url(encoded.path),
            headers=[*_CONTENT, *encoded.headers.items()],
            body=encoded.body,
            deadlines=self._deadlines,
        )
        try:
            async with sent as answer:
                if not 200 <= answer.status < 300:
                    raise classify(answer.status, answer.headers, await _beginning(answer), target)
                async with aclosing(self._events(answer, encoded.body, target)) as events:
                    yield events
        except HttpFailed as exc:
            raise network_failure(exc.kind, str(exc), target) from exc

    async def _events(self, answer: Answer, body: bytes, target: Target) -> AsyncGenerator[StreamEvent, None]:
        yield RequestSent(body)
        decoder, chunks = self.decoder(target), answer.chunks()
        try:
            async for piece in chunks:
                for event in decoder.feed(piece):
                    yield event
                if decoder.ended:
                    await _drain(chunks)
                    return
        except HttpFailed:
            if not decoder.finished:
                raise
        for event in decoder.close():
            yield event

    def _url(self, path: str) -> str:
        base = urlsplit(self._base_url)
        return urlunsplit((base.scheme, base.netloc, self.base_path(base.path.rstrip("/")) + path, base.query, ""))

    def _target(self, model: str, options: O) -> Target:
        secrets = {options.key, *self._at.userinfo.split(":"), *options.headers.values()}
        return Target(
            f"{self._name} at {self._at.site}", model, frozenset(each for each in secrets if len(each) >= SECRET_CHARS)
        )


async def _beginning(answer: Answer) -> bytes:
    """Of an error's body, what is needed to tell it; what has come of it, if it breaks off."""
    pieces: list[bytes] = []
    try:
        async for piece in answer.chunks():
            pieces.append(piece)
            if sum(map(len, pieces)) >= READ_BYTES:
                break
    except HttpFailed:
        pass
    return b"".join(pieces)


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    with trio.move_on_after(DRAIN_SECONDS):
        async for _ in chunks:
            pass
