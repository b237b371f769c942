"""A cable between a client and a device that can be pulled, also in the middle of a transfer, and made slow."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

_CHUNK = 65536


class Link:
    """Forwards a loopback port; `connect` opens the device's end."""

    def __init__(self, connect: Callable[[], socket.socket], port: int) -> None:
        self.port = port
        self.carried = 0
        """Bytes that went to the device since the link was made or restored."""
        self._connect = connect
        self._flow = threading.Event()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._limit: int | None = None
        self._hang_at_limit = False
        self._rate: float | None = None
        self._listener: socket.socket | None = None
        self.restore()

    @property
    def up(self) -> bool:
        """Whether the cable is in."""
        return self._listener is not None

    def restore(self) -> None:
        """Plug the cable in: new connections work, and those that hang go on."""
        self._limit = None
        self.carried = 0
        self._flow.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=32)
            threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def cut(self, *, hang: bool = False) -> None:
        """Pull the cable. New connections are refused; open ones are closed, or hang as they do on a network where packets get lost."""
        self._flow.clear()
        if self._listener is not None:
            # shutdown() wakes the thread in accept(), which close() alone does not.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        if not hang:
            with self._lock:
                pairs, self._pairs = self._pairs, set()
            for pair in pairs:
                _close(*pair)

    def cut_after(self, count: int, *, hang: bool = False) -> None:
        """Pull the cable once `count` more bytes went to the device."""
        self._hang_at_limit = hang
        self._limit = self.carried + count

    def throttle(self, bytes_per_s: float | None) -> None:
        """Carry at most so many bytes a second in each direction of each connection; None: as fast as it goes."""
        self._rate = bytes_per_s

    def close(self) -> None:
        """Pull the cable for good."""
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._open, args=[client], daemon=True).start()

    def _open(self, client: socket.socket) -> None:
        try:
            device = self._connect()
        except OSError:
            client.close()
            return
        for end in (client, device):
            # A timeout of `connect` is not one of a connection on which nobody speaks for a while.
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (client, device)
        with self._lock:
            self._pairs.add(pair)
        back = threading.Thread(target=self._pump, args=[device, client, False], daemon=True)
        back.start()
        self._pump(client, device, True)
        back.join()
        with self._lock:
            self._pairs.discard(pair)
        _close(*pair)

    def _pump(self, source: socket.socket, sink: socket.socket, to_device: bool) -> None:
        """Carry one direction until its end; the other may go on."""
        try:
            while data := source.recv(_CHUNK if self._rate is None else max(1, min(_CHUNK, int(self._rate / 20)))):
                self._flow.wait()
                if to_device:
                    data = self._up_to_the_limit(data, sink)
                sink.sendall(data)
                if self._rate is not None:
                    time.sleep(len(data) / self._rate)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            _close(source, sink)

    def _up_to_the_limit(self, data: bytes, sink: socket.socket) -> bytes:
        """What is left of `data` to send, once the cable that had to be pulled within it is back."""
        if self._limit is not None and self.carried + len(data) >= self._limit:
            first = self._limit - self.carried
            sink.sendall(data[:first])
            self.carried += first
            self.cut(hang=self._hang_at_limit)
            self._flow.wait()
            data = data[first:]
        self.carried += len(data)
        return data


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
