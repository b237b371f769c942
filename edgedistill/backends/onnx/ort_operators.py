"""The operators that .ort files need, as a minimal build of ONNX Runtime takes them.

`python -m edgedistill.backends.onnx.ort_operators FILE...` writes them.

Format: https://onnxruntime.ai/docs/reference/operators/reduced-operator-config-file.html
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from edgedistill import child
from edgedistill.errors import DeviceFailed
from edgedistill.files import sha256_file

OPERATORS = "required_operators.config"
TYPES = "required_operators_and_types.config"
"""The same with the types that each operator meets, for `--enable_reduced_operator_type_support`."""
FILES = (OPERATORS, TYPES)
_TIMEOUT_S = 120


def write(folder: Path, names: Sequence[str]) -> None:
    """Write `OPERATORS` and `TYPES` for the .ort files `names` of `folder` beside them; DeviceFailed where a file can't be read.

    A process of its own reads the files, as everywhere.
    """
    command = child.command("edgedistill.backends.onnx.ort_operators", *sorted(names))
    try:
        process = child.run(command, timeout_s=_TIMEOUT_S, cwd=folder)
    except subprocess.SubprocessError as error:
        raise DeviceFailed(f"listing the operators of {', '.join(names)} failed: {error}") from error
    if process.returncode:
        last = (process.stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1][:300]
        raise DeviceFailed(f"listing the operators of {', '.join(names)} failed: {last}")


def ship(files: Sequence[Path], folder: Path) -> dict[str, JsonValue]:
    """Copy the lists beside the .ort `files` into `folder`; returns their part of a manifest."""
    lists = {"operators": OPERATORS, "operators_and_types": TYPES}
    for name in lists.values():
        shutil.copy2(files[0].parent / name, folder / name)
    return {"minimal_build": {key: {"path": name, "sha256": sha256_file(folder / name)} for key, name in lists.items()}}


def main(names: Sequence[str]) -> None:
    """Write both files for `names` into the current folder, with names and no paths in them."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    for target, types in ((OPERATORS, False), (TYPES, True)):
        create_config_from_models([Path(name) for name in names], Path(target), types)


if __name__ == "__main__":
    main(sys.argv[1:])
