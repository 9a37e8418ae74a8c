"""The way out of a sandbox without a network: a port on its loopback that leads to the proxy's unix socket.

A program of its own: `python -I -S -c <this code> <path of the socket> <argv of the command>`. It listens, leaves a
process behind that forwards, and becomes the command: exit code, signals and files are the command's own. What it left
behind is no child of the command, ends with it, holds none of its files, and knows nothing of what it forwards.

Each command waits for this to start, so only modules are used that load at once.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself takes as long as all the rest
import _socket
import os
import select
import sys

MOST = 64  # connections at a time
CHUNK = 65536
LOOK_MS = 1000  # between two looks whether the command is still there, where the system does not tell
VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
STREAM = _socket.SOCK_STREAM | getattr(_socket, "SOCK_CLOEXEC", 0)


def main(path: str, argv: list[str]) -> None:
    listener = _socket.socket(_socket.AF_INET, STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(MOST)
    command = os.getpid()
    if (between := os.fork()) == 0:
        if os.fork() == 0:
            let_go(listener.fileno())
            forward(listener, path, command)
        os._exit(0)
    os.waitpid(between, 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    os.environ.update({word: url for name in VARIABLES for word in (name, name.upper())})
    execute(argv)


def execute(argv: list[str]) -> None:
    for ignored_by_python in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(ignored_by_python, _signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)
    except OSError as exc:
        os.write(2, f"{argv[0]}: {exc.strerror}\n".encode())
        os._exit(127)


def let_go(kept: int) -> None:
    """Of everything that is the command's: who reads what it says is to see its end."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, kept)
    os.closerange(kept + 1, 1024)


class Way:
    """One direction of a connection."""

    def __init__(self, source: _socket.socket, sink: _socket.socket) -> None:
        self.source, self.sink = source, sink
        self.data = b""
        self.is_over = False

    def waits_for(self) -> tuple[int, int]:
        return (self.sink.fileno(), select.POLLOUT) if self.data else (self.source.fileno(), select.POLLIN)

    def move(self) -> None:
        """As much as goes without waiting. Raises OSError."""
        try:
            if not self.data:
                self.data = self.source.recv(CHUNK)
                self.is_over = not self.data
            if self.is_over:
                self.sink.shutdown(_socket.SHUT_WR)
            else:
                self.data = self.data[self.sink.send(self.data) :]
        except BlockingIOError:
            pass


Link = tuple[Way, Way]


def forward(listener: _socket.socket, path: str, command: int) -> None:
    """Until the process *command* ends."""
    watch = watch_of(command)
    links: list[Link] = []
    listener.setblocking(False)
    while True:
        wanted = {listener.fileno(): select.POLLIN} if len(links) < MOST else {}
        if watch is not None:
            wanted[watch] = select.POLLIN
        for way in (way for link in links for way in link if not way.is_over):
            descriptor, event = way.waits_for()
            wanted[descriptor] = wanted.get(descriptor, 0) | event
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        ready = {descriptor for descriptor, _ in poll.poll(None if watch is not None else LOOK_MS)}
        if watch in ready or (watch is None and not is_there(command)):
            return
        links = [link for link in links if goes_on(link, ready)]
        if listener.fileno() in ready and (link := accept(listener, path)) is not None:
            links.append(link)


def watch_of(command: int) -> int | None:
    """A descriptor that can be read once *command* has ended."""
    try:
        return os.pidfd_open(command)
    except (AttributeError, OSError):  # an old system, or one that does not let us
        return None


def is_there(command: int) -> bool:
    try:
        os.kill(command, 0)
    except OSError:
        return False
    return True


def goes_on(link: Link, ready: set[int]) -> bool:
    """Whether there is more to come, after what could be moved was; if not, it is closed."""
    try:
        for way in link:
            if not way.is_over and way.waits_for()[0] in ready:
                way.move()
        if not all(way.is_over for way in link):
            return True
    except OSError:  # one end is gone
        pass
    for way in link:
        way.source.close()
    return False


def accept(listener: _socket.socket, path: str) -> Link | None:
    """A new connection; None where nobody answers at *path*."""
    try:
        descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # of _socket, which typeshed lacks
    except OSError:
        return None
    near, far = _socket.socket(fileno=descriptor), _socket.socket(_socket.AF_UNIX, STREAM)
    try:
        far.connect(path)
    except OSError:
        near.close()
        far.close()
        return None
    near.setblocking(False)
    far.setblocking(False)
    return Way(near, far), Way(far, near)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
