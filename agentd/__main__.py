"""`python -m agentd`, and the first file that runs of agentd.pyz. Python 3.6 has to understand it, to be told no.

The file holds its modules compiled for the Python that built it, and their sources packed together, which makes it a
quarter smaller than sources beside them would. Another Python unpacks these once, and compiles them where they are.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("agentd needs Python 3.11 or later; this is %s (%s)" % (sys.version.split()[0], sys.executable))  # noqa: UP031

COMPILED, SOURCES, NAME = "agentd/__init__.pyc", "sources.zip", "sources.id"
LEFT = (".pyc", ".bin", "modules.index", SOURCES)  # is of no use to another Python
KEPT_DAYS = 60  # since its last start, of what another version has unpacked


def readable_modules() -> "str | None":
    """A directory with modules that this Python can read; None where those beside this file will do."""
    import importlib.util

    loader = globals()["__loader__"]
    archive = getattr(loader, "archive", None)  # of zipimport
    if archive is None or loader.get_data(COMPILED)[:4] == importlib.util.MAGIC_NUMBER:
        return None
    name = "agentd-" + loader.get_data(NAME).decode()
    problems = []
    for base in places():
        directory = os.path.join(base, name)  # noqa: PTH118  # pathlib is not needed otherwise
        try:
            if not (is_ours(base) and is_ours(directory)):
                unpack(archive, base, directory)
            os.utime(directory)
            return directory
        except OSError as exc:
            problems.append(str(exc))
    sys.exit("agentd: this Python needs the sources unpacked, and there is no place for them: " + "; ".join(problems))


def places() -> "list[str]":
    import tempfile

    home = os.path.expanduser("~")  # noqa: PTH111
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")  # noqa: PTH118
    own = f"agentd-{os.getuid()}"
    return [os.path.join(caches, "agentd"), os.path.join(tempfile.gettempdir(), own)]  # noqa: PTH118


def is_ours(directory: str) -> bool:
    """Whether it is there and nobody else can write to it. Raises OSError for one that somebody else has made."""
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        return False
    if found.st_uid != os.getuid() or found.st_mode & 0o170022 != 0o040000:
        raise PermissionError(f"{directory} is not a directory that only you can write to")
    return True


def unpack(archive: str, base: str, directory: str) -> None:
    import io
    import shutil
    import tempfile
    import time
    import zipfile

    os.makedirs(base, 0o700, exist_ok=True)  # noqa: PTH103
    is_ours(base)
    unfinished = tempfile.mkdtemp(dir=base)
    try:
        with zipfile.ZipFile(archive) as whole:
            whole.extractall(unfinished, [name for name in whole.namelist() if not name.endswith(LEFT)])
            with zipfile.ZipFile(io.BytesIO(whole.read(SOURCES))) as sources:
                sources.extractall(unfinished)
        os.rename(unfinished, directory)  # noqa: PTH104
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not is_ours(directory):  # else another process has been faster
            raise
    for entry in os.scandir(base):
        if entry.stat(follow_symlinks=False).st_mtime < time.time() - KEPT_DAYS * 86400:
            shutil.rmtree(entry.path, ignore_errors=True)


modules = readable_modules()
if modules is not None:
    sys.path.insert(0, modules)

from agentd.cli import main  # noqa: E402

called = os.path.basename(sys.argv[0])  # noqa: PTH119
sys.exit(main((["ctl"] if called.startswith("agentctl") else []) + sys.argv[1:]))
