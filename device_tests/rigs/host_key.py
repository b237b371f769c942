"""Keys for ssh: the client's, and the board's in the form that its dropbear reads."""

import base64
import struct
from pathlib import Path

from device_tests.rigs.debian import run


def make_key(path: Path, comment: str) -> None:
    """A new Ed25519 key pair: `path` and `path`.pub."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)


def dropbear_form(path: Path) -> bytes:
    """An unencrypted OpenSSH Ed25519 private key as dropbear keeps it: string "ssh-ed25519", then string seed and public key.

    Source: PROTOCOL.key of OpenSSH; buf_put_ed25519_priv_key in dropbear's ed25519.c.
    """
    lines = path.read_text().split("\n")
    data = base64.b64decode("".join(line for line in lines if not line.startswith("-----")))
    # magic, cipher name, key derivation and its options; one public key; then the private part
    at = len(b"openssh-key-v1\0")
    for _ in range(3):
        _, at = _string(data, at)
    _, at = _string(data, at + 4)
    private, _ = _string(data, at)
    # two check numbers, the type, the public key, and seed with public key
    kind, at = _string(private, 8)
    _, at = _string(private, at)
    both, _ = _string(private, at)
    if kind != b"ssh-ed25519" or len(both) != 64:
        raise ValueError(f"{path} is not an unencrypted Ed25519 key")
    return struct.pack(">I", len(kind)) + kind + struct.pack(">I", len(both)) + both


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">I", data, at)
    return data[at + 4 : at + 4 + length], at + 4 + length
