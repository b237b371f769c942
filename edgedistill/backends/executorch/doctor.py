"""What the command doctor says of ExecuTorch: what it can lower to besides, where it and what it takes is there."""

import importlib.util
import os
import platform
from importlib import metadata
from pathlib import Path

from edgedistill.packages import install, required, state_of
from edgedistill.records.doctor import Row, row


def rows() -> list[Row]:
    """Its optional backends and delegates."""
    return [_qnn(), _extra("Ethos-U", "ethos-u"), _extra("OpenVINO", "openvino"), _vulkan(), _coreml_delegate()]


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
        packages, version = required("executorch", extra), metadata.version("executorch")
    except metadata.PackageNotFoundError:
        return row(name, "missing", "no executorch", needed_for, "executorch first")
    if not packages:
        return row(name, "missing", f"executorch {version} has nothing for it on {platform.system()}", needed_for, "Linux")
    status, found = state_of(packages)
    get = f"pip install 'executorch[{extra}]=={version}' in an environment of its own: what it brings replaces numpy by an older one"
    return row(name, status, found, needed_for, get)


def _delegate(name: str, needed_for: str, where: str, *partitioner: str) -> Row:
    """A delegate whose partitioner comes with executorch, and which computes elsewhere than here."""
    if _in_executorch("backends", *partitioner) is None:
        packages = {"executorch": required("edgedistill").get("executorch", "")}
        return row(name, "missing", "not in the installed executorch", needed_for, install(packages))
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
