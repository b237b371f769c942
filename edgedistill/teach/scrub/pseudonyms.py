"""Pseudonyms: the same value gets the same one, and nobody without the secret can tell or try out which value it stands for."""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.teach.scrub.rules import EMAIL, NAME

_LEAST = 32
_PLACE = Path(".config") / "edgedistill" / "scrub.key"
_CHARACTERS = 10
PSEUDONYM = re.compile(rf"\[[A-Z]+_[a-z2-7]{{{_CHARACTERS}}}\]")


class Pseudonyms:
    """Gives pseudonyms by HMAC-SHA256 (RFC 2104) with the secret in the file `key`; None takes the user's own, and makes it once.

    Raises UserError where the file cannot be read, or holds less than 32 bytes.
    """

    def __init__(self, key: Path | None) -> None:
        self._secret = _read(key or _own())

    @property
    def identity(self) -> str:
        """Changes with the secret, and does not tell it."""
        return self._hash("identity", "")

    def __call__(self, kind: str, value: str) -> str:
        """The pseudonym of a value, such as [EMAIL_k3f9qx2a7b]: 50 bits of its hash. Ways to write the same value do not count."""
        text = value.casefold()
        # Digits are grouped in many ways, letters and signs of names and addresses of mail are not.
        same = " ".join(text.split()) if kind in (EMAIL, NAME) else "".join(filter(str.isalnum, text))
        return f"[{kind.upper()}_{self._hash(kind, same)}]"

    def _hash(self, kind: str, text: str) -> str:
        made = hmac.digest(self._secret, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), "sha256")
        return base64.b32encode(made).decode().lower()[:_CHARACTERS]


def _own() -> Path:
    """The user's file, which is made with a new secret where there is none."""
    path = Path.home() / _PLACE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_LEAST) + "\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise UserError(f"{path}: the secret of pseudonyms can't be written ({error.strerror}); name a file of your own as key") from error
    return path


def _read(path: Path) -> bytes:
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise UserError(f"{path}: the secret of pseudonyms can't be read ({error.strerror}); name another file as key") from error
    if len(secret) < _LEAST:
        raise UserError(f"{path}: found a secret of {len(secret)} bytes, expected at least {_LEAST}; `openssl rand -hex 32` makes one")
    return secret
