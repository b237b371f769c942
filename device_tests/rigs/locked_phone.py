"""A phone whose user has not yet allowed this computer: it answers each signature of adb with another question.

Debian's adbd has no authentication, so this speaks the first words of the protocol itself, and no more.
Source: packages/modules/adb/protocol.txt of the Android Open Source Project.
"""

import contextlib
import socket
import struct
import threading
from typing import Self

_CONNECT, _AUTH, _TOKEN, _PUBLIC_KEY = 0x4E584E43, 0x48545541, 1, 3


class LockedPhone:
    """Listens on a loopback port until `stop`; an adb server that connects lists it as unauthorized."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.spec = f"adb:{self.serial}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse new connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=_ask, args=[client], daemon=True).start()


def _ask(client: socket.socket) -> None:
    with client, contextlib.suppress(OSError):
        while len(head := client.recv(24, socket.MSG_WAITALL)) == 24:
            command, kind, _, length, _, _ = struct.unpack("<6I", head)
            client.recv(length, socket.MSG_WAITALL)
            # A public key is for the user to look at: nothing is answered until then.
            if command == _CONNECT or (command == _AUTH and kind != _PUBLIC_KEY):
                token = bytes(range(20))
                client.sendall(struct.pack("<6I", _AUTH, _TOKEN, 0, len(token), sum(token), _AUTH ^ 0xFFFFFFFF) + token)
