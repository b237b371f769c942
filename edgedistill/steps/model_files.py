"""Finds a file of a model in a run or a bundle, with what an app needs to use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgedistill import scratch, tasks
from edgedistill.backends import backend
from edgedistill.errors import UserError
from edgedistill.files import write_bytes
from edgedistill.measure.adapters import executor_of, not_here
from edgedistill.recipe.base import nearest
from edgedistill.records import Artifact, ArtifactSpec
from edgedistill.records.manifest import MANIFEST_FILE, Entry, Preprocessing
from edgedistill.runs import is_run, read_run
from edgedistill.signature import MethodSignature
from edgedistill.steps.opening import opened, summary_of
from edgedistill.tasks.model_file import ModelFile

if TYPE_CHECKING:
    from edgedistill.bundle.opened import OpenedBundle
    from edgedistill.run import Run

_PARENTS = 3
_File = TypeVar("_File", Artifact, Entry)


@contextmanager
def found(source: Path, artifact: str | None = None) -> Iterator[ModelFile]:
    """The file `artifact` of a run or bundle, by default the one to ship; or the file `source`, which lies in one.

    A run is taken for the block. Raises UserError where there is no such file, or where it does not run here.
    """
    folder = source
    if source.is_file() and source.suffix == ".zip":
        raise UserError(f"{source} is packed, expected the folder of a bundle: unpack it")
    if not source.exists():
        raise UserError(f"found nothing at {source}, expected a run, the folder of a bundle, or a model file of one")
    if not (is_run(source) or (source / MANIFEST_FILE).is_file()):
        places = [place for place in source.resolve().parents[:_PARENTS] if is_run(place) or (place / MANIFEST_FILE).is_file()]
        if not places:
            raise UserError(f"found no run and no bundle around {source}: name the one that it belongs to, and the file by --artifact")
        if artifact is not None:
            raise UserError(f"found the file {source} and --artifact {artifact}, expected one of them")
        folder, artifact = places[0], source.name
    if (folder / MANIFEST_FILE).is_file():
        yield _of_bundle(folder, artifact)
        return
    with opened(read_run, folder) as run, scratch.temporary() as place:
        yield _of_run(run, artifact, place)


@dataclass(frozen=True)
class _Part:
    """A file of one size. sha256: of a file, or of the files of a folder."""

    name: str
    spec: ArtifactSpec
    path: Path
    method: MethodSignature
    sha256: str


def _of_run(run: Run, artifact: str | None, place: Path) -> ModelFile:
    from edgedistill.export.fitting import of_file
    from edgedistill.export.programs import load_signature
    from edgedistill.recipe.loading import recorded

    summary, recipe = summary_of(run), recorded(run.folder)
    files = {made.name: made for made in run.artifacts() if made.role == "student"}
    if not files:
        raise UserError(f"{run.shown} has no artifacts; make them with `edgedistill export {run.shown}`")
    # An interpreter in the place of a runtime is slow.
    ran = {result.name for result in summary.artifacts if result.executed_by == "own_runtime"}
    order = sorted((ship.order[0] for ship in summary.ship.values() if ship.order), key=lambda name: name not in ran)
    made = files[_chosen(artifact, list(files), order, str(run.shown))]

    def part(one: Artifact) -> _Part:
        if (why := run.changed(one)) is not None:
            raise UserError(why)
        method = of_file(load_signature(run.work(one.program)), one.spec).forward
        return _Part(one.name, one.spec, run.path(one.path), method, one.sha256)

    parts = [part(one) for one in _of_all_sizes(made, list(files.values()))]
    run.check("data")
    task, whole = tasks.task(recipe.task), load_signature(run.work(made.program))
    data = task.dataset(recipe, run.work("data"))
    prepared = task.preparation(recipe, data.facts, whole, run.work("data"))
    for name, content in prepared.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place / name, content)
    return _file(task.name, parts, prepared, prepared.manifest, whole.limits, bool(whole.state), place)


def _of_bundle(folder: Path, artifact: str | None) -> ModelFile:
    from edgedistill.bundle.check import read_manifest
    from edgedistill.bundle.opened import opened as opened_bundle

    with opened_bundle(folder) as bundle:
        manifest = read_manifest(bundle)
        entries = {entry.name: entry for entry in manifest.artifacts}
        entry = entries[_chosen(artifact, list(entries), manifest.ship.order, str(folder))]

        def part(one: Entry) -> _Part:
            spec = ArtifactSpec(one.format, one.precision, delegate=one.delegate, input=one.input, sizes=one.sizes)
            return _Part(one.name, spec, _checked(bundle, manifest.files, one.name), one.signature, one.sha256)

        parts = [part(one) for one in _of_all_sizes(entry, manifest.artifacts)]
        prepared, signature = manifest.preprocessing, manifest.signature
        for facts in (*prepared.inputs.values(), *prepared.outputs.values()):
            for value in facts.values():
                if isinstance(value, str) and value in manifest.files:
                    _checked(bundle, manifest.files, value)
        return _file(manifest.task, parts, prepared, manifest.model_extra or {}, signature.limits, bool(signature.state), folder)


def _file(
    task: str, parts: list[_Part], prepared: Preprocessing, entries: Mapping[str, Any], limits: dict[str, int], state: bool, folder: Path,
) -> ModelFile:  # fmt: skip
    spec, name = parts[0].spec, parts[0].name
    if (why := not_here(spec.format, spec.delegate, parts[0].path)) is not None:
        raise UserError(f"{name} does not run here: {why}. Name another file by --artifact")
    adapter = executor_of(spec)
    return ModelFile(
        task, name, parts[0].sha256, adapter.module, adapter.executed_by, spec.input,
        [{"path": str(part.path), "signature": part.method.model_dump(mode="json")} for part in parts], limits,
        backend(spec.format).prompt_pieces.get(spec.precision) if state else None, prepared.inputs, prepared.outputs, dict(entries),
        str(folder),
    )  # fmt: skip


def _of_all_sizes(file: _File, files: list[_File]) -> list[_File]:
    """`file`, then those that differ from it in the sizes of dimensions that vary alone."""
    found = [file]
    if file.sizes:
        found += [other for other in files if other.name != file.name and _kind(other) == _kind(file)]
    return found


def _kind(file: Artifact | Entry) -> tuple[str, str, str | None, str]:
    return file.format, file.precision, file.delegate, file.input


def _chosen(artifact: str | None, names: list[str], order: list[str], where: str) -> str:
    if artifact is None:
        if not order:
            raise UserError(f"{where} ships no file yet; name one by --artifact: {', '.join(names)}")
        return order[0]
    if artifact not in names:
        raise UserError(f"{where} has no file {artifact}, expected one of {', '.join(names)}{nearest(artifact, names)}")
    return artifact


def _checked(bundle: OpenedBundle, files: Mapping[str, str], name: Any) -> Path:
    """A file of a bundle, or a folder, with the hashes of the manifest."""
    parts = [each for each in files if each == name or each.startswith(f"{name}/")]
    if not parts or not bundle.sizes.keys() >= {*parts}:
        raise UserError(f"{bundle.path} has no file {name}; get the bundle again")
    for part in parts:
        if bundle.sha256(part) != files[part]:
            raise UserError(f"{part} of {bundle.path} was changed or damaged; get the bundle again")
    return bundle.path / name
