"""Boards, through the OpenSSH client with the user's own configuration: keys, jump hosts, and how host keys are checked."""

import atexit
import hashlib
import os
import re
import shlex
import subprocess
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.devices import transfer
from edgedistill.measure.devices.base import Reply
from edgedistill.measure.devices.commands import call, unwrap, with_exit_code

CONFIG = "EDGEDISTILL_SSH_CONFIG"
"""Environment variable with the path of another configuration file for the client (its option -F)."""
_TRANSFER_S = 1800.0
_CLOSE_S = 20.0
_CLOSER = 'read -r end; "$@"; rm -rf "$0"'
"""Ends the shared connection, which is in the background, and removes the folder of its socket, when its input ends. That ends with this
process, also where it is killed."""
_MEANINGS = {
    "Host key verification failed": "its host key is unknown or has changed; connect once with `ssh`, compare the key, and accept it",
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key has changed; find out why, then remove the old one with `ssh-keygen -R`",
    "Permission denied": "it does not accept this user's keys; `ssh-copy-id` installs one",
    "Could not resolve hostname": "its name is not known; check it, or add it to your ssh configuration",
}


class SshDevice:
    """A board, given as user@host[:port]. The host may be an alias of the user's configuration."""

    def __init__(self, address: str) -> None:
        parts = re.fullmatch(r"(?:([^@\s]+)@)?(\[[^\]\s]+\]|[^:@\s]+)(?::(\d{1,5}))?", address)
        if parts is None or (parts[2].startswith("-")) or (parts[1] or "").startswith("-"):
            raise UserError(f"found device 'ssh:{address}', expected ssh:user@host or ssh:user@host:port")
        self.address, self._user, self._host, self._port = address, parts[1], parts[2].strip("[]"), parts[3]

    @property
    def spec(self) -> str:
        """ssh:user@host[:port]."""
        return f"ssh:{self.address}"

    @cached_property
    def root(self) -> str:
        """A folder in the user's home on the board."""
        home = self.sh('printf %s "$HOME"').out.strip()
        if not home.startswith("/"):
            raise DeviceFailed(f"{self.spec}: found no home folder ('{home}'), expected an absolute path in HOME")
        return f"{home.rstrip('/')}/.cache/edgedistill"

    def sh(self, script: str, *, timeout_s: float = 60) -> Reply:
        """Run a script by `sh`, whatever the login shell is; see `base.Device`."""
        wrapped, word = with_exit_code(script)
        reply = call([*self._command(), "sh"], timeout_s=timeout_s, stdin=wrapped.encode())
        return self._unwrap(reply, word)

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the board; see `base.Device`."""
        transfer.push(self, source, target, self._send)

    def pull(self, source: str, target: Path) -> None:
        """Copy a file from the board; see `base.Device`."""
        transfer.pull(self, source, target, self._fetch)

    def reconnect(self) -> None:
        """Close the shared connection, which may be dead without having noticed."""
        call([*self._command("-O", "exit")], timeout_s=20)

    def _send(self, source: Path, part: str) -> str:
        with open(source, "rb") as handle:
            command = f"cat > {shlex.quote(part)}; printf '\\n%s:%d\\n' sent $?"
            reply = call([*self._command(), "sh", "-c", shlex.quote(command)], timeout_s=_TRANSFER_S, stdin=handle)
        answer = self._unwrap(reply, "sent")
        return answer.err.strip() if answer.code else ""

    def _fetch(self, source: str, part: Path, size: int) -> str:
        with open(part, "wb") as handle:
            reply = call([*self._command(), "cat", shlex.quote(source)], timeout_s=_TRANSFER_S, stdout=handle, files={handle: size})
        if reply.code == 255:
            self._unwrap(reply, "never")
        return reply.err.strip() if reply.code else ""

    def _unwrap(self, reply: Reply, word: str) -> Reply:
        for sign, meaning in _MEANINGS.items():
            # 255 is the client's own code. A script may print such words as well.
            if reply.code == 255 and sign in reply.err:
                raise DeviceFailed(f"{self.spec}: {meaning} (ssh said: {reply.err.strip().splitlines()[-1]})")
        return unwrap(reply, word, f"{self.spec}: the link dropped, or could not be created")

    def _command(self, *options: str) -> list[str]:
        # Never wait for a password; notice a dead link after 15 s; share one connection among all commands.
        given = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        given += ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-T"]
        given += ["-p", self._port] if self._port else []
        given += ["-l", self._user] if self._user else []
        return self._client(self._socket, *given, *options)

    def _client(self, socket: str, *options: str) -> list[str]:
        given = ["-F", os.environ[CONFIG]] if CONFIG in os.environ else []
        return ["ssh", *given, "-o", f"ControlPath={socket}", *options, "--", self._host]

    @cached_property
    def _socket(self) -> str:
        # A short path, since the path of a socket is limited to 108 bytes.
        folder = tempfile.mkdtemp(prefix="edgessh-")
        socket = f"{folder}/{hashlib.sha256(self.address.encode()).hexdigest()[:12]}"
        command = ["sh", "-c", _CLOSER, folder, *self._client(socket, "-O", "exit")]
        nothing = subprocess.DEVNULL
        closer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, start_new_session=True)
        atexit.register(_close, closer)
        return socket


def _close(closer: subprocess.Popen[bytes]) -> None:
    """Let the closer end the connection now, and wait for it."""
    with suppress(subprocess.TimeoutExpired):
        closer.communicate(timeout=_CLOSE_S)
