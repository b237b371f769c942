"""Reads the load information of a 64-bit little-endian ELF file, since a host may have no readelf.

Source: Tool Interface Standard (TIS) ELF Specification 1.2; System V ABI, chapters 4 and 5.
"""

import struct
from dataclasses import dataclass

_MAGIC_64_LITTLE = b"\x7fELF\x02\x01"
CLASS_64 = 2
"""The byte at 4 of a 64-bit file."""

_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRTAB, _RPATH, _RUNPATH = 1, 5, 15, 29
_MACHINES = {62: "x86_64", 183: "aarch64"}


@dataclass(frozen=True)
class Elf:
    """machine: x86_64, aarch64 or a number. needed: libraries. search: its folders for them. alignment: the smallest of its segments."""

    machine: str
    needed: tuple[str, ...]
    search: tuple[str, ...]
    alignment: int


def is_elf(data: bytes) -> bool:
    """Whether `data` is an ELF file of any class."""
    return data[:4] == _MAGIC_64_LITTLE[:4]


def read(data: bytes) -> Elf:
    """Read a file. Raises ValueError if it is not a 64-bit little-endian ELF file, or is truncated."""
    if data[:6] != _MAGIC_64_LITTLE:
        raise ValueError(f"expected a 64-bit little-endian ELF file, found one that begins with {data[:6]!r}")
    try:
        return _read(data)
    except struct.error as error:
        raise ValueError(f"the ELF file of {len(data)} bytes is truncated") from error


def _read(data: bytes) -> Elf:
    machine = struct.unpack_from("<H", data, 18)[0]
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = []
    for index in range(count):
        kind, _, offset, address, _, in_file, _, alignment = struct.unpack_from("<IIQQQQQQ", data, table + index * size)
        segments.append((kind, offset, address, in_file, alignment))
    loads = [segment for segment in segments if segment[0] == _LOAD]
    entries: list[tuple[int, int]] = []
    for kind, offset, _, in_file, _ in segments:
        if kind == _DYNAMIC:
            entries = [struct.unpack_from("<qQ", data, at) for at in range(offset, offset + in_file, 16)]
    tags = dict(entries)
    # The string table is given by its address in memory.
    strings = next(
        (
            offset + tags[_STRTAB] - address
            for _, offset, address, in_file, _ in loads
            if address <= tags.get(_STRTAB, -1) < address + in_file
        ),
        0,
    )

    def text(at: int) -> str:
        begin = strings + at
        return data[begin : data.index(b"\0", begin)].decode()

    search = [folder for tag, value in entries if tag in (_RPATH, _RUNPATH) for folder in text(value).split(":")]
    needed = tuple(text(value) for tag, value in entries if tag == _NEEDED)
    alignment = min((segment[4] for segment in loads), default=1)
    return Elf(_MACHINES.get(machine, str(machine)), needed, tuple(search), alignment)
