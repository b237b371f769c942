"""Writes a bundle: the artifacts of one target, manifest.json, and golden inputs with their outputs."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import sha256_file, write_json

GOLDEN = 16
_MANIFEST = "manifest.json"
SCHEMA = "edgedistill/manifest/1"


def write_bundle(
    folder: Path,
    *,
    target: dict[str, Any],
    artifacts: list[dict[str, Any]],
    run: Path,
    model: dict[str, Any],
    images: np.ndarray,
    outputs: dict[str, np.ndarray],
) -> Path:
    """Write the bundle of `target` to `folder`, whole or not at all, in place of an older one.

    artifacts: records with name, path, format, precision, bytes, sha256, executed_by, ok, runtime; `path` is inside the folder `run`.
    model: name, classes, image_size, mean, std, versions, state_sha256, output_scale.
    images: golden inputs float32 [G, 3, H, W] in 0..1; outputs: logits float32 [G, classes] by artifact name.
    Raises UserError when `folder` holds something else than a bundle.
    """
    _check_ours(folder)
    temporary = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "golden").mkdir(parents=True)
    np.save(temporary / "golden" / "inputs.npy", images)
    inputs_hash = sha256_file(temporary / "golden" / "inputs.npy")
    entries = []
    for artifact in artifacts:
        source, copy = run / artifact["path"], temporary / artifact["name"]
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy2(source, copy)
        entry = {key: artifact[key] for key in ("name", "format", "precision", "bytes", "sha256", "executed_by", "ok", "runtime")}
        if artifact["name"] in outputs:
            golden = temporary / "golden" / f"{artifact['name']}.npy"
            np.save(golden, outputs[artifact["name"]])
            entry["golden_outputs"] = {"path": f"golden/{golden.name}", "sha256": sha256_file(golden)}
        entries.append(entry)
    size = model["image_size"]
    manifest = {
        "schema": SCHEMA,
        "target": {key: target[key] for key in ("name", "description", "minimum_os")},
        "model": {key: model[key] for key in ("name", "state_sha256", "output_scale")},
        "input": {
            "name": "image", "shape": [1, 3, size, size], "dtype": "float32",
            "layout": "NCHW", "color": "RGB", "range": [0.0, 1.0],
            "resize": "shorter side to the size, bilinear with antialiasing, then centre crop",
            "normalization": {"mean": model["mean"], "std": model["std"], "where": "inside the program"},
        },
        "output": {"name": "logits", "shape": [1, len(model["classes"])], "dtype": "float32", "postprocessing": "softmax"},
        "labels": model["classes"],
        "artifacts": entries,
        "golden": {"count": len(images), "inputs": {"path": "golden/inputs.npy", "sha256": inputs_hash}},
        "versions": model["versions"],
    }  # fmt: skip
    write_json(temporary / _MANIFEST, manifest)
    remove_bundle(folder)
    temporary.rename(folder)
    return folder


def remove_bundle(folder: Path) -> None:
    """Remove an older bundle, so that none stands for artifacts that it was not made of; UserError when `folder` is not one."""
    _check_ours(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _check_ours(folder: Path) -> None:
    if folder.exists() and not (folder / _MANIFEST).exists():
        raise UserError(f"{folder} exists and is not a bundle of edgedistill (it has no {_MANIFEST}); move it, or choose another --out")
