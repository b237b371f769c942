"""Writes a bundle: the artifacts of one target, manifest.json, and golden inputs with their outputs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from edgedistill import scratch
from edgedistill.backends import backend, backends
from edgedistill.bundle.folder import check, remove
from edgedistill.bundle.glue import left_out, write_glue
from edgedistill.bundle.readme import README, readme
from edgedistill.bundle.signing import sign
from edgedistill.bundle.tolerance import tolerance
from edgedistill.errors import UserError
from edgedistill.files import sha256_file, sha256_tree, write_arrays, write_bytes, write_text
from edgedistill.measure.inputs import taken
from edgedistill.recipe.inputs import takes_bytes
from edgedistill.recipe.precisions import is_static
from edgedistill.recipe.targets import Target
from edgedistill.records import ArtifactResult, Unavailable, UnknownDelegation
from edgedistill.records.manifest import (
    MANIFEST_FILE,
    Entry,
    File,
    Golden,
    Licenses,
    Manifest,
    ModelFacts,
    Preprocessing,
    Quantized,
    Ship,
    TargetFacts,
)
from edgedistill.signature import MethodSignature, Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

GOLDEN = 16
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Sampled:
    """Samples that an artifact is tested with, and what it gave for them.

    samples: [G, ...] as programs take them, by the name of the input. outputs: likewise; None where nothing could execute the artifact.
    sizes: to which these samples are filled up, where others have other sizes.
    """

    samples: Arrays
    outputs: Arrays | None
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """What a bundle is made of.

    run: the folder that the paths of `artifacts` start from. methods: what each artifact takes and gives, by its name. golden: samples
    for each artifact, likewise. scales: the size of a step of each quantized output, by name of artifact and output. versions: of what made
    the model. entries: further ones of the manifest, that its task does not give. release_card: files of the release card, by name.
    """

    name: str
    task: str
    run: Path
    artifacts: Sequence[ArtifactResult]
    methods: Mapping[str, MethodSignature]
    model: ModelFacts
    signature: Signature
    preprocessing: Preprocessing
    golden: Mapping[str, Sampled]
    scales: Mapping[str, Mapping[str, float]]
    ship: Ship
    licenses: Licenses
    versions: dict[str, str]
    entries: Mapping[str, JsonValue] = field(default_factory=dict)
    release_card: Mapping[str, bytes] = field(default_factory=dict)


def write_bundle(folder: Path, target: Target, contents: Contents, key: Ed25519PrivateKey | None = None) -> Path:
    """Write the bundle of `target` to `folder`, whole or not at all, in place of an older one; `key` signs it.

    Raises UserError when `folder` holds something else than a bundle, or when a file is not the one that was verified.
    """
    check(folder)
    temporary = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _fill(temporary, target, contents)
        if key is not None:
            sign(temporary, key)
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
    for path, data in {**contents.preprocessing.files, **contents.release_card}.items():
        write_bytes(temporary / path, data)
    facts = {**contents.preprocessing.manifest, **contents.entries, **_companions(temporary, contents.artifacts, contents.run)}
    manifest = Manifest(
        name=contents.name,
        task=contents.task,
        target=TargetFacts(name=target.name, description=target.description, minimum_os=target.minimum_os),
        model=contents.model,
        signature=contents.signature,
        preprocessing=contents.preprocessing,
        ship=contents.ship,
        artifacts=entries,
        licenses=contents.licenses,
        versions=contents.versions,
        **facts,
    )
    languages: list[str] = [*target.glue]
    usages, without = write_glue(temporary, manifest, languages), left_out(manifest, languages)
    write_text(temporary / README, readme(manifest, usages, list(without.values()), carded=bool(contents.release_card)))
    # Last, since it has the hash of every other file.
    manifest.files = {p.relative_to(temporary).as_posix(): sha256_file(p) for p in sorted(temporary.rglob("*")) if p.is_file()}
    manifest.write(temporary / MANIFEST_FILE)


def _entry(folder: Path, artifact: ArtifactResult, contents: Contents) -> Entry:
    method = contents.methods[artifact.name]
    sampled = contents.golden[artifact.name]
    given = sampled.outputs
    missing = artifact.parity.unavailable if artifact.ok is None and isinstance(artifact.parity, Unavailable) else None
    count, facts, scales = len(next(iter(sampled.samples.values()))), backend(artifact.format), contents.scales.get(artifact.name, {})
    golden = Golden(
        count=count,
        inputs=_golden_inputs(folder, artifact.input, method, sampled),
        outputs=None if given is None else _written(folder, f"golden/outputs/{artifact.name}", given),
        tolerance={} if given is None else tolerance(artifact, given, scales),
    )
    quantized = {name: Quantized(scale=scale, zero_point=0) for name, scale in scales.items()} if is_static(artifact.precision) else {}
    if takes_bytes(artifact.input):
        quantized |= {spec.name: Quantized(scale=1 / 255, zero_point=0) for spec in method.inputs if spec.dtype == "uint8"}
    names = ("name", "format", "precision", "delegate", "sizes", "bytes", "sha256", "input", "executed_by", "ok", "runtime", "packages")
    return Entry(
        **{name: getattr(artifact, name) for name in names},
        signature=method,
        prompt_piece=facts.prompt_pieces.get(artifact.precision) if contents.signature.state else None,
        quantized=quantized,
        minimum_runtime=facts.minimum_runtime(artifact.packages),
        minimum_os=facts.oldest_os(artifact.precision, state=bool(contents.signature.state)),
        operators=_operators(artifact),
        unavailable=missing,
        golden=golden,
    )


def _operators(artifact: ArtifactResult) -> dict[str, int] | Unavailable:
    found = artifact.delegation
    if isinstance(found, Unavailable) and not isinstance(found, UnknownDelegation):
        return found
    total: Counter[str] = Counter()
    for operators in found.operators.values():
        total.update(operators)
    return dict(total)


def _golden_inputs(folder: Path, kind: str, method: MethodSignature, sampled: Sampled) -> dict[str, File]:
    """The golden inputs as files with the input `kind` take them; those that take the same share them."""
    samples = sampled.samples
    types = {spec.name: np.dtype(spec.dtype) for spec in method.inputs}
    same = all(samples[name].dtype == dtype for name, dtype in types.items()) and not takes_bytes(kind)
    path = "golden/inputs" if same else f"golden/inputs-{'-'.join(dict.fromkeys(map(str, types.values())))}"
    path += "".join(f"-{name}{size}" for name, size in sampled.sizes.items())
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
    for name, own in backends().items():
        files = [run / a.path for a in artifacts if a.format == name]
        if files and own.companions:
            companions |= import_module(own.companions).ship(files, folder)
    return companions
