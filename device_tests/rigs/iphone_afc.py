"""Serves a folder by AFC, the file protocol of iOS, as far as `bench --app` uses it."""

import asyncio
import struct

_MAGIC = b"CFA6LPAA"
_HEADER = struct.Struct("<8sQQQQ")
_STATUS, _DATA, _READ_DIR, _REMOVE, _MAKE_DIR, _INFO = 1, 2, 3, 8, 9, 10
_OPEN, _OPENED, _READ, _WRITE, _CLOSE = 13, 14, 15, 16, 20
_OK, _NOT_FOUND = 0, 8
_MODES = {1: "rb", 3: "wb"}


async def serve_afc(root, reader, writer, phone=None):
    """Answer one connection. phone: its `cut` in phone.json drops the link in the midst of a file."""
    files = {}
    while True:
        magic, size, _, number, operation = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        assert magic == _MAGIC
        body = await reader.readexactly(size - _HEADER.size)
        if operation == _READ and phone is not None and (left := phone.about().get("cut", 0)):
            path = phone.folder / "phone.json"
            path.write_text(path.read_text().replace(f'"cut": {left}', f'"cut": {left - 1}'))
            writer.write(_HEADER.pack(_MAGIC, _HEADER.size + 4096, _HEADER.size, number, _DATA) + bytes(100))
            await writer.drain()
            return
        kind, answer = answered(root, files, operation, body)
        writer.write(_HEADER.pack(_MAGIC, _HEADER.size + len(answer), _HEADER.size + len(answer), number, kind) + answer)
        await writer.drain()
        await asyncio.sleep(0)


def answered(root, files, operation, body):
    """The kind of the answer and its body."""
    if operation == _OPEN:
        path, mode = placed(root, body[8:]), _MODES[struct.unpack("<Q", body[:8])[0]]
        if mode == "wb" or path.is_file():
            files[len(files) + 1] = open(path, mode)  # noqa: SIM115  until it is closed by its number
            return _OPENED, struct.pack("<Q", len(files))
        return status(_NOT_FOUND)
    if operation in (_READ, _WRITE, _CLOSE):
        file = files[struct.unpack("<Q", body[:8])[0]]
        if operation == _READ:
            return _DATA, file.read(struct.unpack("<Q", body[8:16])[0])
        if operation == _WRITE:
            file.write(body[8:])
        else:
            file.close()
        return status(_OK)
    path = placed(root, body)
    if operation == _MAKE_DIR:
        path.mkdir(parents=True, exist_ok=True)
        return status(_OK)
    if not path.exists():
        return status(_NOT_FOUND)
    if operation == _REMOVE:
        path.unlink()
        return status(_OK)
    if operation == _READ_DIR:
        return _DATA, "".join(f"{name}\0" for name in [".", "..", *(entry.name for entry in path.iterdir())]).encode()
    assert operation == _INFO, operation
    about = path.stat()
    values = {
        "st_size": about.st_size, "st_blocks": about.st_blocks, "st_nlink": 1, "st_ifmt": "S_IFDIR" if path.is_dir() else "S_IFREG",
        "st_mtime": about.st_mtime_ns, "st_birthtime": about.st_mtime_ns,
    }  # fmt: skip
    return _DATA, "".join(f"{name}\0{value}\0" for name, value in values.items()).encode()


def status(number):
    return _STATUS, struct.pack("<Q", number)


def placed(root, name):
    path = (root / name.partition(b"\0")[0].decode().lstrip("/")).resolve()
    assert path.is_relative_to(root.resolve()), path
    return path
