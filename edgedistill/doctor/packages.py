"""The rows of `doctor` on packages: this one's requirements, converters, runtimes, and optional backends of executorch."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

Row = dict[str, Any]

CONVERTERS = {
    "executorch": ("executorch", "torch", "torchao"),
    "litert": ("litert-torch",),
    "onnx": ("onnx", "onnxscript"),
    "coreml": ("coremltools",),
}
_RUNTIMES = {"executorch": "ExecuTorch", "litert": "LiteRT", "onnx": "ONNX Runtime", "coreml": "Core ML program executor"}


def row(name: str, status: str, found: str, needed_for: str, get: str | None = None, *, required: bool = False) -> Row:
    """One row: status is ok, missing or unusable (there, and not working); `get` says how to change that."""
    get = None if status == "ok" else get
    return {"name": name, "status": status, "found": found, "needed_for": needed_for, "get": get, "required": required}


def _required(package: str, extra: str | None = None) -> dict[str, str]:
    """{package: range} of what `package` requires here, or of what its extra adds to that."""
    from packaging.requirements import Requirement

    found = {}
    for text in metadata.requires(package) or []:
        requirement = Requirement(text)
        plain, chosen = (requirement.marker is None or requirement.marker.evaluate({"extra": name}) for name in ("", extra or ""))
        if (chosen and not plain) if extra else plain:
            found[requirement.name] = str(requirement.specifier)
    return found


def _installed(packages: dict[str, str]) -> tuple[str, str]:
    """ok, missing or unusable, and the version of each package, with what is wrong with it."""
    from packaging.specifiers import SpecifierSet

    statuses, texts = [], []
    for name, wanted in packages.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            statuses.append("missing")
            texts.append(f"no {name}")
            continue
        fits = SpecifierSet(wanted).contains(version, prereleases=True)
        statuses.append("ok" if fits else "unusable")
        texts.append(f"{name} {version}" if fits else f"{name} {version}, expected {wanted}")
    status = next((s for s in ("missing", "unusable") if s in statuses), "ok")
    return status, ", ".join(texts)


def _install(packages: dict[str, str]) -> str:
    return f"pip install {' '.join(repr(name + wanted) for name, wanted in packages.items())}"


def packages() -> Row:
    """All of this package's own requirements at once; those that fit are only counted."""
    wanted = _required("edgedistill")
    states = {name: _installed({name: range_}) for name, range_ in wanted.items()}
    wrong = {name: wanted[name] for name, (status, _) in states.items() if status != "ok"}
    status = _installed(wrong)[0]
    found = "; ".join(states[name][1] for name in wrong) or f"{len(wanted)} in the versions that edgedistill is made for"
    return row("packages", status, found, "everything", f"{_install(wrong)}, in one call, so that they fit each other", required=True)


def converter(kind: str, users: list[str]) -> Row:
    """The packages that lower to a format; `users` are the targets that want it."""
    from edgedistill.backends.inspect import NAMES

    own = _required("edgedistill")
    wanted = {name: own.get(name, "") for name in CONVERTERS[kind]}
    status, found = _installed(wanted)
    return row(f"{NAMES[kind]} converter", status, found, _users("export", users), _install(wanted), required=bool(users))


def _users(verb: str, users: list[str]) -> str:
    return f"{verb} for {', '.join(users)}" if users else verb


def runtime(kind: str, users: list[str], answer: dict[str, Any]) -> Row:
    """What executes a format, by what the process that started it answered."""
    needed_for = _users("verify and bench" if kind != "coreml" else "verify", users)
    if "error" not in answer:
        found = ", ".join(f"{name} {version}" for name, version in answer.items() if isinstance(version, str))
        return row(_RUNTIMES[kind], "ok", f"starts: {found}", needed_for, required=bool(users))
    package = {"executorch": "executorch", "litert": "ai-edge-litert", "onnx": "onnxruntime", "coreml": "coremltools"}[kind]
    wanted = {package: _required("edgedistill").get(package, "")}
    status = "missing" if _installed(wanted)[0] == "missing" else "unusable"
    get = _install(wanted).replace("install", "install --force-reinstall") if status == "unusable" else _install(wanted)
    return row(_RUNTIMES[kind], status, answer["error"], needed_for, get, required=bool(users))


def coreml() -> Row:
    """Whether Core ML itself is here; coremltools brings its bindings on macOS only."""
    needed_for = "latency of Core ML files, arithmetic of the Neural Engine"
    if platform.system() == "Darwin":
        return row("Core ML execution", "ok", f"macOS {platform.mac_ver()[0]}", needed_for)
    found = f"{platform.system()} has no Core ML; verify executes its programs operator by operator"
    return row("Core ML execution", "missing", found, needed_for, "a Mac")


def _in_executorch(*parts: str) -> Path | None:
    """A path inside the installed executorch, which is not imported; None where it is not there."""
    try:
        spec = importlib.util.find_spec("executorch")
    except (ImportError, ValueError):
        return None
    folders = [Path(folder, *parts) for folder in (spec.submodule_search_locations or [] if spec else [])]
    return next((folder for folder in folders if folder.exists()), None)


def _qnn() -> Row:
    """Looks for the SDK itself: importing executorch's package for it tries to download one."""
    name, needed_for = "Qualcomm QNN", "optional: .pte for the NPU of Snapdragon phones; edgedistill does not export it yet"
    get = "the SDK from https://softwarecenter.qualcomm.com (Qualcomm AI Engine Direct, with an account), then export QNN_SDK_ROOT=FOLDER"
    root = os.environ.get("QNN_SDK_ROOT", "")
    if not root:
        return row(name, "missing", "QNN_SDK_ROOT is not set", needed_for, get)
    folder = Path(root)
    if not folder.is_dir():
        return row(name, "unusable", f"QNN_SDK_ROOT is {root}, which is no folder", needed_for, get)
    if not any(folder.glob("lib/*/libQnnHtp.so")):
        return row(name, "unusable", f"{root} has no lib/*/libQnnHtp.so, so it is not a whole SDK", needed_for, get)
    if _in_executorch("backends", "qualcomm", "partition") is None:
        return row(name, "unusable", f"SDK in {root}, and no backend for it in executorch", needed_for, "another build of executorch")
    return row(name, "ok", f"SDK in {root}", needed_for)


def _extra(name: str, extra: str) -> Row:
    """A backend of executorch that an extra of it installs."""
    what = {"ethos-u": "Arm Ethos-U microcontrollers", "openvino": "Intel CPUs, GPUs and NPUs"}[extra]
    needed_for = f"optional: .pte for {what}; edgedistill does not export it yet"
    try:
        wanted, version = _required("executorch", extra), metadata.version("executorch")
    except metadata.PackageNotFoundError:
        return row(name, "missing", "no executorch", needed_for, "executorch first")
    if not wanted:
        return row(name, "missing", f"executorch {version} has nothing for it on {platform.system()}", needed_for, "Linux")
    status, found = _installed(wanted)
    get = f"pip install 'executorch[{extra}]=={version}' in an environment of its own: what it brings replaces numpy by an older one"
    return row(name, status, found, needed_for, get)


def _delegate(name: str, needed_for: str, where: str, *partitioner: str) -> Row:
    """A delegate whose partitioner comes with executorch, and which computes elsewhere than here."""
    if _in_executorch("backends", *partitioner) is None:
        wanted = {"executorch": _required("edgedistill").get("executorch", "")}
        return row(name, "missing", "not in the installed executorch", needed_for, _install(wanted))
    return row(name, "ok", f"in the installed executorch, to lower with; running takes {where}", needed_for)


def _vulkan() -> Row:
    where = "an ExecuTorch built with Vulkan and a GPU's driver, so that no file is executed here"
    return _delegate(
        "Vulkan delegate",
        "optional: .pte for the GPU of Android phones (target android-gpu)",
        where,
        "vulkan",
        "partitioner",
        "vulkan_partitioner.py",
    )


def _coreml_delegate() -> Row:
    where = "an iPhone, iPad or Mac; its program is taken out of the file and executed operator by operator here"
    return _delegate(
        "Core ML delegate",
        "optional: .pte that calls Core ML (target ios-executorch)",
        where,
        "apple",
        "coreml",
        "partition",
        "coreml_partitioner.py",
    )


OPTIONAL: list[Callable[[], Row]] = [
    _qnn, partial(_extra, "Ethos-U", "ethos-u"), partial(_extra, "OpenVINO", "openvino"), _vulkan, _coreml_delegate
]  # fmt: skip
"""What executorch can lower to besides, where it and what it takes is there."""
