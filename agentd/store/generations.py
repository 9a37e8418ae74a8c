"""What survived each restart of the machine, and so which cursors still mean what they meant.

Power loss takes back records that readers have seen but that were not synced, and other records get their positions. So
a log that is opened after a reboot begins a new generation, in a small file beside it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from agentd.store.files import write_atomic


@attrs.frozen
class Generations:
    """*starts* has, for each generation, how many positions it found when it began."""

    boot: str
    starts: tuple[int, ...]

    @classmethod
    def load(cls, log: Path) -> Generations | None:
        """None if there is no such file yet, or no sound one."""
        try:
            fields = json.loads(_path(log).read_bytes())
            return cls(str(fields["boot"]), tuple(int(start) for start in fields["starts"]))
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return None

    def save(self, log: Path) -> None:
        """Durably; raises OSError."""
        write_atomic(_path(log), json.dumps(attrs.asdict(self)).encode())

    @property
    def current(self) -> int:
        """The number of the latest; the first is 1."""
        return len(self.starts)

    def kept(self, pos: int, generation: int) -> bool:
        """Whether what was at *pos* in *generation* is what is there now, if anything is."""
        return 1 <= generation <= self.current and all(pos <= start for start in self.starts[generation:])


def begin_generation(log: Path, last_pos: int, *, anew: bool = False) -> Generations:
    """What a writer does that finds *last_pos* records: nothing, unless the machine was restarted since the last one
    did, or records were cut (*anew*). Raises OSError."""
    before, boot = Generations.load(log), boot_id()
    if before is not None and before.boot == boot and not anew:
        return before
    now = Generations(boot, (*(before.starts if before else ()), last_pos))
    now.save(log)
    return now


def boot_id() -> str:
    """The same until the machine restarts; another each time where the system does not say, which is safe too."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.urandom(16).hex()


def _path(log: Path) -> Path:
    return log.with_suffix(".generations.json")
