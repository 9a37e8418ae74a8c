"""What an executor loads late or makes once, loaded and made beforehand: a fork server's children share it."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import agentd
from agentd.domain import Hello, JobSpec
from agentd.faces.executor.control import SettleAsk
from agentd.providers.settings import Catalog
from agentd.wire.typed import prepare

ROOMS = ("engine", "faces.executor", "providers", "sandbox", "store", "tools", "wire", "workspace")
FOREIGN = ("encodings.idna", "zipfile", "shutil")  # looking up a host imports the first
KINDS = (Hello, Catalog, JobSpec, SettleAsk)


def warm_up() -> None:
    for room in ROOMS:
        package = import_module(f"{agentd.__name__}.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    for name in FOREIGN:
        import_module(name)
    for kind in KINDS:
        prepare(kind)
