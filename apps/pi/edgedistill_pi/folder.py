"""Frames of the images in a folder."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DeviceFailed, Mistake
from .glue import Glue, install

if TYPE_CHECKING:
    from .glue import Frames

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_POLL_S = 0.25

Stamp = tuple[int, int]
"""Size and time of change of a file."""


def images(folder: Path, glue: Glue, *, watch: bool, stop: threading.Event) -> Frames:
    """The images of a folder, in the order of names. Reading a damaged one raises InputError.

    With `watch` it goes on until `stop`, and takes new and changed files as soon as they are the same at two looks: one
    that is still being written is not read.
    """
    _check_pillow(glue)
    done: dict[str, Stamp] = {}
    before: dict[str, Stamp] = {}
    while not stop.is_set():
        found = _look(folder)
        if not watch and not found:
            raise Mistake(
                f"{folder} has no image ({', '.join(sorted(_SUFFIXES))}); add some, or wait for them with --watch"
            )
        ready = {name: stamp for name, stamp in found.items() if not watch or before.get(name) == stamp}
        for name in sorted(name for name, stamp in ready.items() if done.get(name) != stamp):
            yield name, partial(glue.frame_of, folder / name)
        done = {name: stamp for name, stamp in done.items() if name in found} | ready
        before = found
        if not watch:
            return
        stop.wait(_POLL_S)


def _check_pillow(glue: Glue) -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        found = f"Pillow, which reads image files, can't be used ({error})"
        raise DeviceFailed(f"{found}; install it with {install(glue.wheel, 'images')}") from error


def _look(folder: Path) -> dict[str, Stamp]:
    """The images that are there now. Hidden files are left out: programs write to them before they rename them."""
    found: dict[str, Stamp] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in _SUFFIXES:
                    continue
                try:
                    facts = entry.stat()
                except FileNotFoundError:
                    # Removed since the folder was listed.
                    continue
                if entry.is_file():
                    found[entry.name] = (facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise Mistake(f"{folder} can't be read ({error.strerror}), expected a folder of images") from error
    return found
