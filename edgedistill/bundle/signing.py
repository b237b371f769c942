"""Signatures of bundles: Ed25519 (RFC 8032) over the bytes of manifest.json, which has the hash of every other file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import UserError
from edgedistill.files import write_bytes
from edgedistill.records.manifest import MANIFEST_FILE, SIGNATURE_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_HOW = "make a pair of keys with `openssl genpkey -algorithm ed25519 -out key.pem` and `openssl pkey -in key.pem -pubout -out public.pem`"


def private_key(file: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file without a password. Raises UserError where there is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _key(file, lambda data: load_pem_private_key(data, None), Ed25519PrivateKey, "private")


def public_key(file: Path) -> Ed25519PublicKey:
    """The public key in a PEM file. Raises UserError where there is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return _key(file, load_pem_public_key, Ed25519PublicKey, "public")


def _key(file: Path, load: Any, kind: type, name: str) -> Any:
    try:
        key = load(file.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} holds no {name} key that can be read without a password ({error}); {_HOW}") from error
    if not isinstance(key, kind):
        raise UserError(f"{file} holds a key of another kind, expected an Ed25519 {name} key; {_HOW}")
    return key


def sign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign the manifest of the bundle in `folder`."""
    write_bytes(folder / SIGNATURE_FILE, key.sign((folder / MANIFEST_FILE).read_bytes()))


def why_not_signed(manifest: bytes, signature: bytes | None, key: Ed25519PublicKey) -> str | None:
    """Why `signature` is not that of `manifest` by the owner of `key`; None where it is."""
    if signature is None:
        return f"{SIGNATURE_FILE} is missing, expected a signature; ask who made the bundle for a signed one"
    if not is_signed(manifest, signature, key):
        return f"{SIGNATURE_FILE} is not the signature of {MANIFEST_FILE} by this key: it was changed, or signed by someone else"
    return None


def is_signed(data: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    """Whether `signature` is that of `data` by the owner of `key`."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True
