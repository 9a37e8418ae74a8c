"""Which files look as if they held secrets, by their names: they are not read to a model. runs-and-chat.md, 7.2."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_NAMES = re.compile(
    r"""\.env.* | .*\.env                                        # settings with passwords in them
    | id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)? | .*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk|asc|gpg)    # private keys
    | credentials(?:\..*)? | .*[-_]credentials?\.(?:json|ya?ml|toml|ini)
    | secrets?\.(?:json|ya?ml|toml|ini|env) | service[-_]?account.*\.json
    | \.(?:netrc|pgpass|htpasswd|npmrc|pypirc|git-credentials|dockercfg|vault-token|boto|s3cfg|my\.cnf)
    | _netrc | \.terraformrc | .*\.tfstate(?:\.backup)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PLACES = (".ssh", ".gnupg", ".aws", ".kube", ".docker")  # directories of nothing else
_PUBLIC = re.compile(r".*\.pub", re.IGNORECASE)


def looks_secret(path: str) -> bool:
    """*path*: relative, with slashes."""
    *parents, name = PurePosixPath(path).parts or ("",)
    if _PUBLIC.fullmatch(name):
        return False
    return bool(_NAMES.fullmatch(name)) or any(parent.lower() in _PLACES for parent in parents)
