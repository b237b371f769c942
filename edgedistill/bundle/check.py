"""Checks a bundle that came from elsewhere: every file, every hash, and whether the parts of its manifest fit each other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from packaging.version import InvalidVersion, Version
from pydantic import ValidationError

from edgedistill import tasks
from edgedistill.bundle import signing
from edgedistill.bundle.opened import OpenedBundle, opened, unsafe
from edgedistill.errors import UserError
from edgedistill.gate import card
from edgedistill.records.documents import CheckedBundle
from edgedistill.records.gate import CARD_FILE, CARD_SIGNATURE_FILE, ReleaseCard
from edgedistill.records.manifest import MANIFEST, MANIFEST_FILE, SIGNATURE_FILE, Entry, Manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_VERSIONED = re.compile(r"^edgedistill/manifest/(\d+)$")
_OURS = int(MANIFEST.rpartition("/")[2])
_SHOWN = 20


def check_bundle(path: Path, *, key: Ed25519PublicKey | None = None, runtimes: Mapping[str, str] | None = None) -> CheckedBundle:
    """Check the bundle at `path`, a folder or a .zip. Raises UserError where there is none.

    key: the bundle has to be signed by its owner. runtimes: versions that an app has, by name, as manifests name them; artifacts that need
    a newer one are told.
    """
    with opened(path) as bundle:
        manifest, problems = None, list(bundle.problems)
        try:
            manifest = read_manifest(bundle, key)
        except UserError as error:
            problems.append(str(error))
        if manifest is not None:
            problems += _of_files(bundle, manifest)
            for entry in manifest.artifacts:
                problems += _of_artifact(bundle, manifest, entry, runtimes or {})
            problems += _of_task(manifest) + _of_card(bundle, manifest, key)
        more = [f"and {len(problems) - _SHOWN:,} more problems"] if len(problems) > _SHOWN else []
        return CheckedBundle(
            bundle=str(path),
            status="check_failed" if problems else "ok",
            document=None if manifest is None else manifest.document,
            target=None if manifest is None else manifest.target.name,
            files=len(bundle.sizes),
            bytes=sum(bundle.sizes.values()),
            signed=None if key is None else not any(SIGNATURE_FILE in problem for problem in problems),
            problems=problems[:_SHOWN] + more,
        )


def read_manifest(bundle: OpenedBundle, key: Ed25519PublicKey | None = None) -> Manifest:
    """The manifest of a bundle, signed by the owner of `key`. Raises UserError where there is none that this version reads."""
    if MANIFEST_FILE not in bundle.sizes:
        raise UserError(f"{bundle.path} has no {MANIFEST_FILE}, expected a bundle of edgedistill; write one with `edgedistill bundle`")
    data = bundle.read(MANIFEST_FILE)
    if key is not None:
        signature = bundle.read(SIGNATURE_FILE) if SIGNATURE_FILE in bundle.sizes else None
        if why := signing.why_not_signed(data, signature, key):
            raise UserError(why)
    try:
        value = json.loads(data)
        found = value["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{MANIFEST_FILE} is damaged, or it is something else; get the bundle again") from error
    version = _VERSIONED.match(found) if isinstance(found, str) else None
    if version is None:
        raise UserError(f"{MANIFEST_FILE} has the schema {str(found)[:100]!r}, expected {MANIFEST}")
    if int(version[1]) > _OURS:
        raise UserError(
            f"{MANIFEST_FILE} has the schema {found}, which is newer than {MANIFEST}; update edgedistill, and the app's glue code"
        )
    if int(version[1]) < _OURS:
        raise UserError(
            f"{MANIFEST_FILE} has the schema {found}, which is older than {MANIFEST}; write the bundle again with `edgedistill bundle`"
        )
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{MANIFEST_FILE} has {error.error_count()} mistake(s); the first, at {where}: {first['msg']}") from error


def _of_files(bundle: OpenedBundle, manifest: Manifest) -> list[str]:
    """Files that are missing, changed, or not listed."""
    problems = []
    for name, expected in manifest.files.items():
        if why := unsafe(name):
            problems.append(f"{MANIFEST_FILE} lists the path {name[:100]!r}, which is not allowed: {why}")
        elif name not in bundle.sizes:
            problems.append(f"{name} is missing; get the bundle again")
        elif (found := _sha256(bundle, name)) != expected:
            problems.append(
                f"{name} has the SHA-256 {found[:12]}, expected {expected[:12]}: it was changed or damaged; get the bundle again"
            )
    if stray := sorted(set(bundle.sizes) - set(manifest.files) - {MANIFEST_FILE, SIGNATURE_FILE}):
        problems.append(f"{', '.join(stray[:3])}{' and more' if len(stray) > 3 else ''}: not listed in {MANIFEST_FILE}; remove it")
    return problems


def _sha256(bundle: OpenedBundle, name: str) -> str:
    try:
        return bundle.sha256(name)
    except UserError as error:
        return str(error)


def _of_artifact(bundle: OpenedBundle, manifest: Manifest, entry: Entry, runtimes: Mapping[str, str]) -> list[str]:
    """What does not fit of one artifact."""
    parts = [name for name in manifest.files if name == entry.name or name.startswith(f"{entry.name}/")]
    if not parts:
        return [f"the artifact {entry.name} is not among the files of {MANIFEST_FILE}"]
    problems = []
    if parts == [entry.name] and manifest.files[entry.name] != entry.sha256:
        problems.append(f"{MANIFEST_FILE} has two hashes of {entry.name}")
    for name, needed in entry.minimum_runtime.items():
        if name in runtimes and _is_older(runtimes[name], needed):
            problems.append(
                f"{entry.name} needs {name} {needed} or later, found {runtimes[name]}; update it in the app, or ship another artifact"
            )
    ports = {spec.name: spec for spec in entry.signature.inputs}, {spec.name: spec for spec in entry.signature.outputs}
    for specs, golden in zip(ports, (entry.golden.inputs, entry.golden.outputs), strict=True):
        for name, file in (golden or {}).items():
            if name not in specs:
                problems.append(f"{entry.name}: there are golden values of {name}, which is not in its signature")
            elif file.path in bundle.sizes and (why := _does_not_fit(bundle, file.path, specs[name].matches, entry.golden.count)):
                problems.append(f"{file.path}: {why}, expected {entry.golden.count} samples of {specs[name]}")
    return problems


def _of_card(bundle: OpenedBundle, manifest: Manifest, key: Ed25519PublicKey | None) -> list[str]:
    """What is wrong with the release card of a bundle that has one."""
    if CARD_FILE not in bundle.sizes:
        return []
    data = bundle.read(CARD_FILE)
    try:
        found = ReleaseCard.model_validate_json(data)
    except ValidationError:
        return [f"{CARD_FILE} is damaged, or of another version; write it again with `edgedistill gate`"]
    problems = [f"the gate failed, as {CARD_FILE} says: {'; '.join(found.failed)}"] if found.status != "ok" else []
    if why := card.misfit(found, {entry.name: entry.sha256 for entry in manifest.artifacts}):
        problems.append(why)
    if key is not None and CARD_SIGNATURE_FILE in bundle.sizes and not signing.is_signed(data, bundle.read(CARD_SIGNATURE_FILE), key):
        problems.append(f"{CARD_SIGNATURE_FILE} is not the signature of {CARD_FILE} by this key: it was changed, or signed by someone else")
    return problems


def _is_older(found: str, needed: str) -> bool:
    try:
        return Version(found) < Version(needed)
    except InvalidVersion:
        raise UserError(f"found the version '{found}', expected one such as {needed}") from None


def _does_not_fit(bundle: OpenedBundle, name: str, matches: object, count: int) -> str | None:
    """Why the array in a .npy file is not `count` samples of a tensor; its values are not read."""
    try:
        with bundle.open(name) as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except (UserError, ValueError, OSError, EOFError) as error:
        return f"not a readable .npy file ({error})"
    one = (1, *shape[1:])
    fits = shape[:1] == (count,) and (matches(str(dtype), one) or matches(str(dtype), shape[1:]))  # type: ignore[operator]
    return None if fits else f"found {dtype}{list(shape)}"


def _of_task(manifest: Manifest) -> list[str]:
    """What its task says of a manifest; a task that another package adds may not be here."""
    known = tasks.tasks()
    return known[manifest.task].misfits(manifest) if manifest.task in known else []
