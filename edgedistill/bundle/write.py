"""Writes a bundle: the artifacts of one target, manifest.json, and golden inputs with their outputs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from edgedistill import scratch
from edgedistill.backends import backends
from edgedistill.bundle.folder import MANIFEST_FILE, check, remove
from edgedistill.errors import UserError
from edgedistill.files import sha256_file, sha256_tree, write_arrays
from edgedistill.measure.inputs import taken
from edgedistill.recipe.inputs import takes_bytes
from edgedistill.recipe.targets import Target
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records.manifest import Entry, File, Golden, Manifest, ModelFacts, Preprocessing, TargetFacts
from edgedistill.signature import MethodSignature, Signature

GOLDEN = 16
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Contents:
    """What a bundle is made of.

    run: the folder that the paths of `artifacts` start from. methods: what each artifact takes and gives, by its name. samples: golden
    inputs [G, ...] as programs take them, by name. outputs: what each artifact gave for them, by name of artifact and output; one that
    nothing could execute is missing. versions: of what trained, quantized and lowered the model.
    """

    task: str
    run: Path
    artifacts: Sequence[ArtifactResult]
    methods: Mapping[str, MethodSignature]
    model: ModelFacts
    signature: Signature
    preprocessing: Preprocessing
    samples: Arrays
    outputs: Mapping[str, Arrays]
    versions: dict[str, str]


def write_bundle(folder: Path, target: Target, contents: Contents) -> Path:
    """Write the bundle of `target` to `folder`, whole or not at all, in place of an older one.

    Raises UserError when `folder` holds something else than a bundle, or when a file is not the one that was verified.
    """
    check(folder)
    temporary = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _fill(temporary, target, contents)
        remove(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _fill(temporary: Path, target: Target, contents: Contents) -> None:
    entries = []
    for artifact in contents.artifacts:
        source, copy = contents.run / artifact.path, temporary / artifact.name
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy2(source, copy)
        if (found := sha256_tree(copy)) != artifact.sha256:
            raise UserError(f"{source} has the SHA-256 {found[:12]}, expected {artifact.sha256[:12]}: it changed since it was verified")
        entries.append(_entry(temporary, artifact, contents))
    facts = {**contents.preprocessing.manifest, **_companions(temporary, contents.artifacts, contents.run)}
    Manifest(
        task=contents.task,
        target=TargetFacts(name=target.name, description=target.description, minimum_os=target.minimum_os),
        model=contents.model,
        signature=contents.signature,
        preprocessing=contents.preprocessing,
        artifacts=entries,
        files={path.relative_to(temporary).as_posix(): sha256_file(path) for path in sorted(temporary.rglob("*")) if path.is_file()},
        versions=contents.versions,
        **facts,
    ).write(temporary / MANIFEST_FILE)


def _entry(folder: Path, artifact: ArtifactResult, contents: Contents) -> Entry:
    method = contents.methods[artifact.name]
    given = contents.outputs.get(artifact.name)
    missing = artifact.parity.unavailable if artifact.ok is None and isinstance(artifact.parity, Unavailable) else None
    count = len(next(iter(contents.samples.values())))
    golden = Golden(
        count=count,
        inputs=_golden_inputs(folder, artifact.input, method, contents.samples),
        outputs=None if given is None else _written(folder, f"golden/outputs/{artifact.name}", given),
    )
    names = ("name", "format", "precision", "delegate", "bytes", "sha256", "input", "executed_by", "ok", "runtime", "packages")
    return Entry(**{name: getattr(artifact, name) for name in names}, signature=method, unavailable=missing, golden=golden)


def _golden_inputs(folder: Path, kind: str, method: MethodSignature, samples: Arrays) -> dict[str, File]:
    """The golden inputs as files with the input `kind` take them; those that take the same share them."""
    types = {spec.name: np.dtype(spec.dtype) for spec in method.inputs}
    same = all(samples[name].dtype == dtype for name, dtype in types.items()) and not takes_bytes(kind)
    path = "golden/inputs" if same else f"golden/inputs-{'-'.join(dict.fromkeys(map(str, types.values())))}"
    if same:
        return _written(folder, path, samples)
    with scratch.temporary() as plain:
        write_arrays(plain, samples)
        with taken(plain, method, kind) as files:
            return _written(folder, path, {name: np.load(file) for name, file in files.items()})


def _written(folder: Path, path: str, arrays: Arrays) -> dict[str, File]:
    write_arrays(folder / path, arrays)
    return {name: _file(folder, f"{path}/{name}.npy") for name in arrays}


def _file(folder: Path, path: str) -> File:
    return File(path=path, sha256=sha256_file(folder / path))


def _companions(folder: Path, artifacts: Sequence[ArtifactResult], run: Path) -> dict[str, JsonValue]:
    """Copy what a format has beside its files, such as lists that a build of its runtime is made from; returns the manifest's part."""
    companions: dict[str, JsonValue] = {}
    for name, backend in backends().items():
        files = [run / a.path for a in artifacts if a.format == name]
        if files and backend.companions:
            companions |= import_module(backend.companions).ship(files, folder)
    return companions
