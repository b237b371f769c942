"""Writes a bundle: the artifacts of one target, manifest.json, and golden inputs with their outputs."""

import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.backends import backends
from edgedistill.errors import UserError
from edgedistill.files import sha256_file, write_json
from edgedistill.recipe.inputs import DEFAULT, takes_bytes
from edgedistill.records import ArtifactResult
from edgedistill.tasks.pixels import as_taken

GOLDEN = 16
_MANIFEST = "manifest.json"
SCHEMA = "edgedistill/manifest/1"
_ENTRY = ("name", "format", "precision", "delegate", "bytes", "sha256", "executed_by", "ok", "runtime")


def write_bundle(
    folder: Path,
    *,
    target: dict[str, Any],
    artifacts: Sequence[ArtifactResult],
    run: Path,
    model: dict[str, Any],
    images: np.ndarray,
    outputs: dict[str, np.ndarray],
) -> Path:
    """Write the bundle of `target` to `folder`, whole or not at all, in place of an older one.

    artifacts: their `path` is in the folder `run`. One that nothing could execute has the reason in the manifest, as `unavailable`, and no
    golden outputs.
    model: name, classes, image_size, mean, std, state_sha256, output_scale, and versions, those of what made the artifacts.
    images: golden inputs float32 [G, 3, H, W] in 0..1; outputs: logits float32 [G, classes] by artifact name.
    Raises UserError when `folder` holds something else than a bundle.
    """
    _check_ours(folder)
    temporary = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "golden").mkdir(parents=True)
    size = model["image_size"]
    golden_inputs = {a.input: _golden(temporary, images, a.input) for a in artifacts}
    # What the bundle as a whole is said to take: float32 where a file of it does.
    first = min(golden_inputs, key=takes_bytes)
    entries = []
    for artifact in artifacts:
        source, copy = run / artifact.path, temporary / artifact.name
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy2(source, copy)
        entry = {
            key: getattr(artifact, key)
            for key in ("name", "format", "precision", "delegate", "bytes", "sha256", "executed_by", "ok", "runtime", "packages")
        }
        entry |= {"input": _input(artifact.input, size), "golden_inputs": golden_inputs[artifact.input]}
        if artifact.ok is None:
            entry["unavailable"] = artifact.parity.unavailable  # type: ignore[union-attr]
        if artifact.name in outputs:
            golden = temporary / "golden" / f"{artifact.name}.npy"
            np.save(golden, outputs[artifact.name])
            entry["golden_outputs"] = {"path": f"golden/{golden.name}", "sha256": sha256_file(golden)}
        entries.append(entry)
    builds = _companions(temporary, artifacts, run)
    manifest = {
        "schema": SCHEMA,
        "target": {key: target[key] for key in ("name", "description", "minimum_os")},
        "model": {key: model[key] for key in ("name", "state_sha256", "output_scale")},
        "input": {
            "name": "image", **_input(first, size),
            "resize": "shorter side to the size, bilinear with antialiasing, then centre crop",
            "normalization": {"mean": model["mean"], "std": model["std"], "where": "inside the program"},
        },
        "output": {"name": "logits", "shape": [1, len(model["classes"])], "dtype": "float32", "postprocessing": "softmax"},
        "labels": model["classes"],
        "artifacts": entries,
        **builds,
        "golden": {"count": len(images), "inputs": golden_inputs[first]},
        "versions": model["versions"],
    }  # fmt: skip
    write_json(temporary / _MANIFEST, manifest)
    remove_bundle(folder)
    temporary.rename(folder)
    return folder


def _input(kind: str, size: int) -> dict[str, Any]:
    """What an artifact takes: the values 0 to 255 of bytes mean 0 to 1."""
    found: dict[str, dict[str, Any]] = {
        DEFAULT: {"shape": [1, 3, size, size], "dtype": "float32", "layout": "NCHW", "range": [0.0, 1.0]},
        "uint8-nhwc": {"shape": [1, size, size, 3], "dtype": "uint8", "layout": "NHWC", "range": [0, 255]},
        "image": {"shape": [size, size], "dtype": "uint8", "layout": "image", "range": [0, 255]},
    }
    return found[kind] | {"color": "RGB"}


def _golden(folder: Path, images: np.ndarray, kind: str) -> dict[str, str]:
    """The golden inputs for the input `kind`, written to the bundle `folder`: float32 [G, 3, S, S] or uint8 [G, S, S, 3]."""
    path = folder / "golden" / ("inputs-uint8.npy" if takes_bytes(kind) else "inputs.npy")
    np.save(path, as_taken(images, kind))
    return {"path": f"golden/{path.name}", "sha256": sha256_file(path)}


def _companions(folder: Path, artifacts: Sequence[ArtifactResult], run: Path) -> dict[str, Any]:
    """Copy what a format has beside its files, such as lists that a build of its runtime is made from; returns the manifest's part."""
    found: dict[str, Any] = {}
    for name, backend in backends().items():
        files = [run / a.path for a in artifacts if a.format == name]
        if files and backend.companions:
            found |= import_module(backend.companions).ship(files, folder)
    return found


def remove_bundle(folder: Path) -> None:
    """Remove an older bundle, so that none stands for artifacts that it was not made of; UserError when `folder` is not one."""
    _check_ours(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _check_ours(folder: Path) -> None:
    if folder.exists() and not (folder / _MANIFEST).exists():
        raise UserError(f"{folder} exists and is not a bundle of edgedistill (it has no {_MANIFEST}); move it, or choose another --out")
