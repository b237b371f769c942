"""What works on this machine, what is missing and how to get it. Nothing is downloaded, and nothing heavy is imported in this process."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module, metadata
from pathlib import Path

from pydantic import JsonValue

from edgedistill import child
from edgedistill.backends import Backend, backends
from edgedistill.doctor import packages
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.runner import bounded
from edgedistill.packages import extras, is_here
from edgedistill.records.doctor import Diagnosis, Row, State, row

_ADAPTER = "import {0} as adapter; adapter.prepare(1); answer = adapter.versions()"
_GPU = "import torch; cuda = torch.cuda; " + (
    "answer = {'gpu': [cuda.get_device_name(i) for i in range(cuda.device_count())] if cuda.is_available() else []}"
)
_FLAGS = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX",
    "asimd": "NEON", "asimddp": "NEON dot product", "i8mm": "I8MM",
}  # fmt: skip
_MIN_MEMORY, _MIN_DISK = 3 << 30, 2 << 30
"""Two converters at a time take up to 1.3 GB each, and a run of small models some hundred MB of disk."""
_TIMEOUT_S = 60


def doctor() -> Diagnosis:
    """What works here, what is missing, what it is for and how to get it; see docs/cli.md.

    The status is `runtime_failed` when a required row, which the default targets need, is not ok. Raises UserError where edgedistill is
    not installed.
    """
    try:
        metadata.version("edgedistill")
    except metadata.PackageNotFoundError as error:
        raise UserError("edgedistill is not installed, so what it needs is not known; install it with `pip install -e FOLDER`") from error
    kinds = _kinds()
    targets = _targets(kinds)
    checks: list[Callable[[], Row]] = [_python, _system, _cpu, _memory, partial(_disk, Path.cwd()), packages.packages]
    checks += [partial(packages.extra, name) for name in extras() if is_here(name)]
    checks += [partial(packages.converter, own, targets[own.format]) for own in kinds]
    optional = [partial(import_module(own.doctor).rows) for own in backends().values() if own.doctor]
    checks += [_adb, _ssh, _chromium, _nvidia]
    with ThreadPoolExecutor(2 + (os.cpu_count() or 1)) as pool:
        # Those that take longest start first.
        answers = [pool.submit(_child, own.adapters[0].probe or _ADAPTER.format(own.adapters[0].module)) for own in kinds]
        gpu = pool.submit(_child, _GPU)
        others, more = [pool.submit(check) for check in checks], [pool.submit(check) for check in optional]
        rows = [future.result() for future in others]
        runtimes = [packages.runtime(own, targets[own.format], future.result) for own, future in zip(kinds, answers, strict=True)]
        runtimes += [row for future in more for row in future.result()]
    at = next(index for index, row in enumerate(rows) if row.name == "adb")
    rows[at:at] = runtimes
    rows.append(_gpu(gpu.result))
    failed = [row.name for row in rows if row.required and row.status != "ok"]
    return Diagnosis(status="runtime_failed" if failed else "ok", failed=failed, rows=rows)


def _kinds() -> list[Backend]:
    """The backends that files here are executed by; of those that share a runtime, the first."""
    return list({own.adapters[0].module: own for own in reversed(backends().values()) if own.adapters}.values())[::-1]


def _targets(kinds: list[Backend]) -> dict[str, list[str]]:
    """Which of the default targets want a file of each format."""
    from edgedistill.recipe.schema import Recipe
    from edgedistill.recipe.targets import load_target

    names = Recipe.model_fields["targets"].default
    wants = {name: {artifact.format for artifact in load_target(name).artifacts} for name in names}
    return {kind: [name for name in names if kind in wants[name]] for kind in (own.format for own in kinds)}


def _child(code: str) -> dict[str, JsonValue]:
    """What `code` leaves in `answer`, run by a Python of its own. Raises DeviceFailed, with the last line that it printed, if it fails."""
    # -P: a file of the user's in this folder, as torch.py, is not what is asked for.
    command = [sys.executable, "-P", "-c", f"{code}; import json; print(); print(json.dumps(answer))"]
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        process = child.run(command, timeout_s=_TIMEOUT_S, environment=environment)
    except subprocess.TimeoutExpired as error:
        raise DeviceFailed(f"it did not start within {_TIMEOUT_S} s") from error
    except bounded.TooMuchOutput as error:
        raise DeviceFailed(str(error)) from error
    if process.returncode == 0:
        return json.loads(process.stdout.splitlines()[-1])
    lines = process.stderr.strip().splitlines()
    raise DeviceFailed(lines[-1][:300] if process.returncode > 0 and lines else f"it crashed with exit status {process.returncode}")


def _version(command: list[str]) -> tuple[str | None, str]:
    """Path of a program, None where there is none, and the first line of what `command` prints, or why it does not work."""
    path = shutil.which(command[0])
    if path is None:
        return None, ""
    try:
        process = child.run([path, *command[1:]], timeout_s=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        return path, f"error: {error}"
    said = (process.stdout.strip() or process.stderr.strip()).split("\n")[0]
    return path, said if process.returncode == 0 else f"error: exit status {process.returncode}: {said[:200]}"


def _python() -> Row:
    from packaging.specifiers import SpecifierSet

    specifier, found = metadata.metadata("edgedistill")["Requires-Python"], platform.python_version()
    status: State = "ok" if SpecifierSet(specifier).contains(found, prereleases=True) else "unusable"
    return row("Python", status, found, "everything", f"Python {specifier}", required=True)


def _system() -> Row:
    machine = platform.machine().lower()
    fits = platform.system() in ("Linux", "Darwin") and machine in ("x86_64", "amd64", "aarch64", "arm64")
    get = "Linux or macOS, 64-bit x86 or Arm; on Windows its subsystem for Linux"
    return row("platform", "ok" if fits else "unusable", platform.platform(), "everything", get, required=True)


def _cpu() -> Row:
    from edgedistill.measure.runner.facts import machine

    facts = machine()
    return cpu_row(facts["cpu"], facts["cores"], facts["cpu_flags"], platform.machine())


def cpu_row(name: str, cores: int, flags: list[str], machine: str) -> Row:
    """Whether the processor has the instructions that int8 kernels are written for; without them they are right and slow."""
    known = [text for flag, text in _FLAGS.items() if flag in flags]
    found = f"{name}, {cores} cores; {', '.join(known) or 'no instructions known that matter'}"
    if machine.lower() in ("x86_64", "amd64"):
        fast = bool({"avx512_vnni", "avx_vnni"} & set(flags))
        get = (
            "another processor: without VNNI, usual int8 kernels can overflow 16-bit sums, so that edgedistill chooses "
            "exact ones, which are slower. Latencies of int8 files that are measured here say little about machines that have it"
        )
        return row("CPU", "ok" if fast else "missing", found if fast else f"{found}; no VNNI", "speed of int8", get)
    if not flags:
        return row("CPU", "ok", found, "speed of int8")
    fast = "asimddp" in flags
    get = "an Arm v8.2 or later processor, as in a Raspberry Pi 5: without dot products int8 files are slower"
    return row("CPU", "ok" if fast else "missing", found if fast else f"{found}; no dot product", "speed of int8", get)


def _memory() -> Row:
    needs = f"converters; at least {_MIN_MEMORY >> 30} GiB"
    try:
        text = Path("/proc/meminfo").read_text()
        free, total = (int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    except (OSError, IndexError):
        return row("memory", "ok", "unavailable: this system has no /proc/meminfo", needs)
    found = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB available"
    return row("memory", "ok" if free >= _MIN_MEMORY else "unusable", found, needs, "close other programs, or add swap")


def _disk(folder: Path) -> Row:
    free = shutil.disk_usage(folder).free
    found, needs = f"{free / 2**30:.1f} GiB free in {folder}", f"runs; at least {_MIN_DISK >> 30} GiB"
    return row("disk", "ok" if free >= _MIN_DISK else "unusable", found, needs, "space, or another disk by --runs-dir")


def _tool(name: str, command: list[str], needed_for: str, get: str) -> Row:
    path, said = _version(command)
    if path is None:
        return row(name, "missing", f"no {command[0]} in PATH", needed_for, get)
    broken = said.startswith("error: ")
    return row(name, "unusable" if broken else "ok", f"{path}: {said}" if said else path, needed_for, get)


def _adb() -> Row:
    get = "apt install adb, brew install android-platform-tools, or https://developer.android.com/tools/releases/platform-tools"
    return _tool("adb", ["adb", "version"], "optional: devices with Android", get)


def _ssh() -> Row:
    return _tool("ssh", ["ssh", "-V"], "optional: boards with Linux", "apt install openssh-client")


def _chromium() -> Row:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((name for name in names if shutil.which(name)), names[0])
    return _tool("chromium", [program, "--version"], "optional: tests that look at the report", "apt install chromium")


def _nvidia() -> Row:
    get = "only for a machine with an NVIDIA GPU: its driver, which brings it"
    return _tool("nvidia-smi", ["nvidia-smi", "-L"], "optional: seeing an NVIDIA GPU", get)


def _gpu(answer: Callable[[], dict[str, JsonValue]]) -> Row:
    needed_for = "optional: faster training; the CPU does the same"
    try:
        names = answer()["gpu"]
    except DeviceFailed:
        return row("GPU", "unusable", "torch did not start", needed_for, "torch first")
    if isinstance(names, list) and names:
        return row("GPU", "ok", ", ".join(map(str, names)), needed_for)
    return row("GPU", "missing", "torch finds none", needed_for, "a machine with an NVIDIA GPU and its driver")
