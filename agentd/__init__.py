"""agentd: a coding-agent server in one file."""

from zipimport import zipimporter

__version__ = "0.1.0"

if isinstance(__spec__.loader, zipimporter):
    from agentd import bundles

    bundles.install(__spec__.loader)
