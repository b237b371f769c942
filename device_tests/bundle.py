"""A bundle as the suite reads it: the files that a device's processor can run, with their golden inputs and outputs."""

from pathlib import Path

import numpy as np
import pytest

from edgedistill import tasks
from edgedistill.backends import backend
from edgedistill.files import read_json, sha256_tree
from edgedistill.measure.harness import Subject
from edgedistill.recipe.precisions import is_static
from edgedistill.records.manifest import MANIFEST, Entry, Manifest


class Bundle:
    """The bundle in `folder`; pytest.UsageError when there is none."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "manifest.json").is_file():
            raise pytest.UsageError(f"--bundle {folder}: found no manifest.json there; `edgedistill export RUN` writes bundles")
        self.folder = folder
        found = read_json(folder / "manifest.json").get("schema")
        if found != MANIFEST:
            raise pytest.UsageError(f"--bundle {folder}: found schema {found}, expected {MANIFEST}")
        self.manifest = Manifest.read(folder / "manifest.json")
        self.subjects = [
            self._subject(one) for one in self.manifest.artifacts if backend(one.format).measured_here and one.delegate is None
        ]
        if not self.subjects:
            raise pytest.UsageError(
                f"--bundle {folder}: found no artifact for a processor; Core ML and GPU files are not run by this suite"
            )

    def changed(self) -> list[str]:
        """Files that are missing or are not what the manifest says."""
        hashes = {one.name: one.sha256 for one in self.manifest.artifacts}
        for one in self.manifest.artifacts:
            hashes |= {file.path: file.sha256 for files in (one.golden.inputs, one.golden.outputs or {}) for file in files.values()}
        return [name for name, digest in hashes.items() if _hash(self.folder / name) != digest]

    def _subject(self, artifact: Entry) -> Subject:
        golden = artifact.golden
        return Subject(
            self.folder / artifact.name, artifact.name, artifact.format, artifact.precision, artifact.bytes, artifact.sha256,
            artifact.signature, {name: self.folder / file.path for name, file in golden.inputs.items()},
            {name: np.load(self.folder / file.path) for name, file in golden.outputs.items()} if golden.outputs is not None else None,
            self.manifest.model.output_scale if is_static(artifact.precision) else None,
            tasks.task(self.manifest.task).decide,
        )  # fmt: skip


def _hash(path: Path) -> str | None:
    return sha256_tree(path) if path.exists() else None
