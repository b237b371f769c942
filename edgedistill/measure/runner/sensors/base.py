"""The types of sensors, and how files and tools are read. All of it runs in the sampling process, so it is small."""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edgedistill.measure.runner import bounded
from edgedistill.measure.runner.job_types import SensorOptions

Tool = Callable[[list[str]], str]
Reader = Callable[[], float]

_TOOL_TIMEOUT_S = 5
_TOOL_LIMIT = 1 << 20


@dataclass(frozen=True)
class Source:
    """Values that are read together.

    channels: unit by name. source: a description of the origin. read: the current values by name, without those that cannot be read now;
    it raises OSError or ValueError if none can. min_interval_s: reading more often would disturb the measurement.
    """

    channels: dict[str, str]
    source: str
    read: Callable[[], dict[str, float]]
    min_interval_s: float = 0.0


class Missing(NamedTuple):
    """A missing sensor and the reason."""

    name: str
    unit: str
    reason: str


class NotNow(ValueError):
    """The sensor exists, but has no value at the moment."""


class Scope(NamedTuple):
    """The input of the finders: the measured process, the file system below `root`, tools, and the options of the job."""

    pid: int
    root: Path
    tool: Tool
    options: SensorOptions


def run_tool(command: list[str]) -> str:
    """Standard output of `command`. Raises OSError if it is not installed, fails, takes longer than 5 s or prints more than 1 MiB."""
    try:
        process = bounded.run(command, timeout_s=_TOOL_TIMEOUT_S, limit=_TOOL_LIMIT)
    except subprocess.TimeoutExpired as late:
        raise TimeoutError(f"{command[0]} had not answered after {_TOOL_TIMEOUT_S} s") from late
    except bounded.TooMuchOutput as flood:
        raise OSError(str(flood)) from flood
    except FileNotFoundError as absent:
        raise FileNotFoundError(f"{command[0]} is not installed") from absent
    if process.returncode != 0:
        lines = (process.stderr or process.stdout).strip().splitlines()
        raise OSError(f"{' '.join(command)} ended with exit status {process.returncode}{': ' + lines[-1] if lines else ''}")
    return process.stdout


def text(path: Path | str) -> str:
    """The content of a file of the kernel, up to 64 KiB, stripped. Raises OSError.

    It uses system calls, since Python's open takes three times as long and a sweep does little else.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, 65536).decode(errors="replace").strip()
    finally:
        os.close(handle)


def number(path: Path | str) -> float:
    """The number in a file. Raises OSError or ValueError."""
    return float(text(path))


def why(error: Exception) -> str:
    """The reason in an exception, for `Missing`."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def collect(readers: Mapping[str, Reader]) -> dict[str, float]:
    """The values of those `readers` that work now."""
    values = {}
    for name, reader in readers.items():
        try:
            values[name] = reader()
        except (OSError, ValueError):
            continue
    return values


def sift(readers: Mapping[str, Reader], units: Mapping[str, str]) -> tuple[dict[str, Reader], list[Missing]]:
    """The `readers` that work now or may work later, and why the others do not."""
    working, missing = {}, []
    for name, reader in readers.items():
        try:
            reader()
        except NotNow:
            working[name] = reader
        except (OSError, ValueError) as error:
            missing.append(Missing(name, units[name], why(error)))
        else:
            working[name] = reader
    return working, missing


def offer(readers: Mapping[str, Reader], units: Mapping[str, str], source: str, min_interval_s: float = 0.0) -> Iterator[Source | Missing]:
    """One source of the `readers` that work, and a `Missing` for each of the others."""
    working, missing = sift(readers, units)
    if working:
        yield Source({name: units[name] for name in working}, source, lambda: collect(working), min_interval_s)
    yield from missing


def numbered(names: Iterable[tuple[str, str]]) -> list[str]:
    """Names for (name, number) pairs: the name alone if it is unique, else with its number."""
    pairs = [("-".join(name.split()) or "unnamed", number) for name, number in names]
    all_names = [name for name, _ in pairs]
    return [name if all_names.count(name) == 1 else f"{name}-{number}" for name, number in pairs]


def by_number(folder: Path, prefix: str) -> list[Path]:
    """Entries `prefix`N of `folder`, in the order of N."""
    entries = [path for path in folder.glob(f"{prefix}*") if path.name[len(prefix) :].isdigit()]
    return sorted(entries, key=lambda path: int(path.name[len(prefix) :]))
