"""A process with everything imported and nothing begun, which forks others on request. Linux only.

It is single-threaded and never has an event loop: what those hold at the moment of a fork, the child holds for ever. An
order is one packet on its standard input, a unix socket: JSON with the words and the whole environment, and the three
descriptors that become the child's standard streams. The answer is a packet with the child's pid, or with what went
wrong. It ends when whoever asks lets go of the socket, or dies.

It forks twice, and who was in between ends: so the child is an orphan, and becomes the child of the nearest child
subreaper (prctl(2)), which is who asked. That one can wait for it, and it does not end with this server.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from agentd.sandbox import guard
from agentd.sandbox.fork import be_the_child

ORDER_BYTES = 1 << 17  # well below what a socket takes in one piece
STREAMS = 3
CHANNEL = 0


def encode_order(words: Sequence[str], env: Mapping[str, str]) -> bytes:
    """Raises OSError (EMSGSIZE) for what is longer than an argv may be here."""
    order = json.dumps({"words": list(words), "env": dict(env)}).encode()
    if len(order) > ORDER_BYTES:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    return order


def decode_answer(data: bytes) -> int:
    """The child's pid. Raises OSError: why there is none."""
    answer = json.loads(data)
    if "pid" not in answer:
        raise OSError(answer["errno"], os.strerror(answer["errno"]))
    return int(answer["pid"])


def die_with(parent: int) -> bool:
    """To be called first of all: getting ready takes a while, in which the parent may be killed. False: it is dead."""
    guard.prctl(guard.PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent  # if it died before the line above, that signal will never come


def serve(main: Callable[[list[str]], int], parent: int) -> int:
    """Fork processes that run *main* with the words of an order, for *parent*, until that lets go. The exit code."""
    if not die_with(parent):
        return 1
    channel = socket.socket(fileno=os.dup(CHANNEL))
    gc.collect()
    gc.freeze()  # or a child's first collection would copy every page that it shares with us
    while True:
        data, fds, _, _ = socket.recv_fds(channel, ORDER_BYTES, STREAMS)
        if not data:
            return 0
        channel.send(json.dumps(_answer(json.loads(data), fds, main)).encode())


def aside(call: Callable[[], str]) -> str:
    """What *call* returns, called in a fork of this process: there it may have threads and an event loop. Empty if it
    fails, which it tells on standard error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, call().encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return told.decode()


def _answer(order: Mapping[str, Any], fds: list[int], main: Callable[[list[str]], int]) -> dict[str, int]:
    try:
        if len(fds) != STREAMS:  # the kernel had no room for them in this process
            raise OSError(errno.EMFILE, "")
        return {"pid": _fork_orphan(fds, order["env"], partial(main, order["words"]))}
    except OSError as exc:
        return {"errno": exc.errno or errno.EIO}
    finally:
        for fd in fds:
            os.close(fd)


def _fork_orphan(fds: list[int], env: Mapping[str, str], main: Callable[[], int]) -> int:
    """The pid of a process that has a session of its own and, by now, another parent. Raises OSError."""
    told, tell = os.pipe()
    try:
        between = os.fork()
        if between == 0:
            _be_between(tell, fds, env, main)
    except OSError:
        os.close(told)
        raise
    finally:
        os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        pid = pipe.read()  # to the end, which comes when the child has its session and has closed what it inherited
    code = os.waitstatus_to_exitcode(os.waitpid(between, 0)[1])
    if code or not pid:
        raise OSError(code if code > 0 else errno.EAGAIN, "")
    return int(pid)


def _be_between(tell: int, fds: list[int], env: Mapping[str, str], main: Callable[[], int]) -> None:
    code = errno.EAGAIN
    try:
        pid = os.fork()
        if pid == 0:
            be_the_child((fds[0], fds[1], fds[2]), env, main)
        os.write(tell, b"%d" % pid)
        code = 0
    except OSError as exc:
        code = exc.errno or code
    finally:
        sys.stderr.flush()
        os._exit(code)
