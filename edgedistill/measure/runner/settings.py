"""Changes settings of a device for a measurement and restores them afterwards. A script does so if the runner is killed."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedistill.measure.runner.records import Recorder

UNDO = "undo.sh"
_GOVERNORS = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"


def governors(root: Path = Path("/")) -> dict[str, str]:
    """The frequency governor of each cpufreq policy, by its path."""
    by_path = {}
    # The cores of one policy have links to the same folder.
    for path in sorted({link.resolve() for link in root.glob(_GOVERNORS)}):
        try:
            by_path[str(path)] = path.read_text().strip()
        except OSError:
            continue
    return by_path


@contextmanager
def governor(name: str | None, folder: Path, recorder: Recorder, root: Path = Path("/")) -> Iterator[None]:
    """Set the governor `name` on all policies that allow it while the block runs, and write a `setting` and a `restored` record for each.

    folder: gets a script that undoes the changes. It exists from before the first change until after the last was undone.
    """
    before = {path: was for path, was in governors(root).items() if was != name} if name else {}
    if name and not before:
        recorder.write("setting", name="governor", path=None, before=None, after=name, reason=f"no policy has another governor than {name}")
    undo = folder / UNDO
    if before:
        _write_down(undo, "".join(f"echo {shlex.quote(was)} > {shlex.quote(path)}\n" for path, was in before.items()))
    changed = {}
    try:
        for path, was in before.items():
            # Note it first: a request to end may arrive right after the write.
            changed[path] = was
            if (reason := _set(Path(path), str(name))) is not None:
                del changed[path]
            recorder.write("setting", name="governor", path=path, before=was, after=name if reason is None else was, reason=reason)
        yield
    finally:
        for path, was in changed.items():
            reason = _set(Path(path), was)
            recorder.write("restored", name="governor", path=path, value=was, ok=reason is None, reason=reason)
        undo.unlink(missing_ok=True)


def _set(path: Path, value: str) -> str | None:
    """Write `value`; returns None, or why the setting did not change."""
    try:
        path.write_text(value)
        actual = path.read_text().strip()
    except OSError as error:
        return f"{error.strerror} ({path})"
    return None if actual == value else f"found {actual} after writing {value}"


def _write_down(path: Path, text: str) -> None:
    with open(path, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
