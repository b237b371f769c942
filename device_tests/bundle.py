"""A bundle as the suite reads it: the files that a device's processor can run, with their golden inputs and outputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistill.files import read_json, sha256_tree
from edgedistill.measure.harness import Subject
from edgedistill.recipe.precisions import is_static
from edgedistill.signature import MethodSignature, TensorSpec

SCHEMA = "edgedistill/manifest/1"


class Bundle:
    """The bundle in `folder`; pytest.UsageError when there is none."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "manifest.json").is_file():
            raise pytest.UsageError(f"--bundle {folder}: found no manifest.json there; `edgedistill export RUN` writes bundles")
        self.folder = folder
        self.manifest = read_json(folder / "manifest.json")
        if self.manifest.get("schema") != SCHEMA:
            raise pytest.UsageError(f"--bundle {folder}: found schema {self.manifest.get('schema')}, expected {SCHEMA}")
        self.subjects = [self._subject(one) for one in self.manifest["artifacts"] if one["format"] != "coreml" and one["delegate"] is None]
        if not self.subjects:
            raise pytest.UsageError(
                f"--bundle {folder}: found no artifact for a processor; Core ML and GPU files are not run by this suite"
            )

    def changed(self) -> list[str]:
        """Files that are missing or are not what the manifest says."""
        hashes = {one["name"]: one["sha256"] for one in self.manifest["artifacts"]}
        for one in self.manifest["artifacts"]:
            hashes |= {one[key]["path"]: one[key]["sha256"] for key in ("golden_inputs", "golden_outputs") if key in one}
        return [name for name, digest in hashes.items() if _hash(self.folder / name) != digest]

    def _subject(self, artifact: dict[str, Any]) -> Subject:
        taken, given = artifact["input"], self.manifest["output"]
        golden = self.folder / artifact["golden_outputs"]["path"] if "golden_outputs" in artifact else None
        method = MethodSignature(
            inputs=(TensorSpec(name="image", dtype=taken["dtype"], shape=tuple(taken["shape"])),),
            outputs=(TensorSpec(name=given["name"], dtype=given["dtype"], shape=tuple(given["shape"])),),
        )
        return Subject(
            self.folder / artifact["name"], artifact["name"], artifact["format"], artifact["precision"], artifact["bytes"],
            artifact["sha256"], method, {"image": self.folder / artifact["golden_inputs"]["path"]},
            {given["name"]: np.load(golden)} if golden else None,
            {given["name"]: self.manifest["model"]["output_scale"]} if is_static(artifact["precision"]) else None,
        )  # fmt: skip


def _hash(path: Path) -> str | None:
    return sha256_tree(path) if path.exists() else None
