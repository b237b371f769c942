"""Facts about the machine and the memory of this process. Linux provides most of them, other systems fewer."""

import os
import platform
import re
from pathlib import Path
from typing import Any, NamedTuple

# The instruction sets by which a runtime chooses its kernels, on x86 and Arm.
_KERNEL_FLAGS = re.compile(r"avx.*|sse4_\d|fma|f16c|amx_.*|neon|asimd.*|i8mm|bf16|fphp|sve.*|sme\d?|sme_.*")
_CLEAR_REFS = "/proc/self/clear_refs"


def machine() -> dict[str, Any]:
    """Facts for the `start` record: cpu, cpu_flags, cores that this process may use, platform, python."""
    cpuinfo = _text("/proc/cpuinfo")
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return {
        "cpu": _cpu(cpuinfo),
        "cpu_flags": sorted(flag for flag in set(flags[1].split()) if _KERNEL_FLAGS.fullmatch(flag)) if flags else [],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu(cpuinfo: str) -> str:
    if name := re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE):
        return name[1].strip()
    # 64-bit Arm kernels report no model name, but boards have one in the device tree.
    return _text("/proc/device-tree/model").strip("\0 \n") or platform.processor() or platform.machine()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _status(field: str, pid: int | str = "self") -> int | None:
    line = re.search(rf"^{field}:\s+(\d+) kB$", _text(f"/proc/{pid}/status"), re.MULTILINE)
    return int(line[1]) * 1024 if line else None


def resident_bytes() -> int | None:
    """Resident memory of this process in bytes (VmRSS), or None if /proc does not report it.

    VmRSS and VmHWM come from the same file, so their difference is exact; /proc/self/statm rounds differently.
    """
    return _status("VmRSS")


def high_water_bytes(pid: int) -> int | None:
    """The largest resident memory that the process `pid` has had, in bytes (VmHWM); None if /proc does not report it."""
    return _status("VmHWM", pid)


class PeakWatch(NamedTuple):
    """The begin of watching the peak of resident memory: whether it was reset, and the peak at that time in bytes."""

    reset: bool
    high: int | None


class Peak(NamedTuple):
    """A peak of resident memory in bytes, and how it was read; or None, and why it is unknown."""

    peak_rss: int | None
    source: str


def watch_peak() -> PeakWatch:
    """Start watching the peak of resident memory; pass the result to `peak_since`."""
    try:
        Path(_CLEAR_REFS).write_text("5")
    except OSError:
        return PeakWatch(reset=False, high=_status("VmHWM"))
    return PeakWatch(reset=True, high=_status("VmHWM"))


def peak_since(watch: PeakWatch) -> Peak:
    """The peak of resident memory since `watch_peak`."""
    high = _status("VmHWM")
    if high is None or watch.high is None:
        return Peak(None, f"{platform.system()} has no VmHWM in /proc/self/status")
    if watch.reset:
        return Peak(high, f"VmHWM of /proc/self/status, reset through {_CLEAR_REFS} before the load")
    if high > watch.high:
        return Peak(high, "VmHWM of /proc/self/status, not reset; the load raised it")
    return Peak(None, f"{_CLEAR_REFS} is not writable, and the import of the runtime had taken more memory than the load")
