"""What a service manager is told: systemd's notification protocol, sd_notify(3). Without one, nothing happens."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

import attrs
import trio

logger = logging.getLogger(__name__)


@attrs.frozen
class ServiceManager:
    """*address*: the socket to tell it on, "" if there is nobody. *watchdog*: it wants to hear from us that often."""

    address: str = ""
    watchdog_seconds: float | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ServiceManager:
        microseconds, meant = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
        watched = microseconds.isdecimal() and int(microseconds) > 0 and meant in ("", str(os.getpid()))
        return cls(env.get("NOTIFY_SOCKET", ""), int(microseconds) / 1e6 if watched else None)

    def tell(self, *words: str) -> None:
        """READY=1, STOPPING=1, WATCHDOG=1, STATUS=…. It is no reason to fail that nobody hears it."""
        if not self.address:
            return
        # "@name" is the abstract namespace, whose names begin with a zero byte: unix(7).
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.connect(address)
                sock.send("\n".join(words).encode())
        except OSError as exc:
            logger.warning("the service manager cannot be told %s: %s", words[0], exc.strerror or exc)

    async def feed_watchdog(self) -> None:
        """Say for ever, twice in its time, that the event loop turns. sd_watchdog_enabled(3)"""
        while self.watchdog_seconds is not None:
            self.tell("WATCHDOG=1")
            await trio.sleep(self.watchdog_seconds / 2)
