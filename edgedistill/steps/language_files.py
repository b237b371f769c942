"""Finds the file of a language model in a run or a bundle, with what prompts and answers need beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.backends import backend
from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.measure.adapters import executor_of, not_here
from edgedistill.recipe.base import nearest
from edgedistill.records import ArtifactSpec
from edgedistill.records.manifest import MANIFEST_FILE
from edgedistill.runs import is_run, read_run
from edgedistill.signature import Signature
from edgedistill.steps.opening import opened

if TYPE_CHECKING:
    from edgedistill.bundle.opened import OpenedBundle
    from edgedistill.run import Run

_TASK = "causal-lm"
_PARENTS = 3


@dataclass(frozen=True)
class LanguageFile:
    """A file of a language model. Paths are texts, as a child process is told them.

    signature: its inputs and outputs, which its adapter is given. length: most tokens of a prompt with its answer. piece: how many tokens
    of a prompt a call takes; None for all of them. end: the token that ends an answer. template: None for a model without one.
    schema: of the answers, where the run has one.
    """

    name: str
    path: str
    adapter: str
    executed_by: str
    signature: dict[str, Any]
    vocabulary: int
    length: int
    piece: int | None
    end: int
    tokenizer: str
    special_tokens: dict[str, str]
    template: str | None
    schema: str | None

    def told(self) -> dict[str, Any]:
        """What the child process needs of it."""
        return asdict(self)


@contextmanager
def found(source: Path, artifact: str | None) -> Iterator[LanguageFile]:
    """The file `artifact` of a run or bundle, by default the one to ship; or the file `source`, which lies in one.

    A run is taken for the block. Raises UserError where there is no language model, or no such file.
    """
    folder = source
    if source.is_file() and source.suffix == ".zip":
        raise UserError(f"{source} is packed, expected the folder of a bundle: unpack it")
    if not source.exists():
        raise UserError(f"found nothing at {source}, expected a run, the folder of a bundle, or a model file of one")
    if not (is_run(source) or (source / MANIFEST_FILE).is_file()):
        places = [place for place in source.resolve().parents[:_PARENTS] if is_run(place) or (place / MANIFEST_FILE).is_file()]
        if not places:
            raise UserError(f"found no tokenizer for {source}: name the run or the bundle that it belongs to, and the file by --artifact")
        if artifact is not None:
            raise UserError(f"found the file {source} and --artifact {artifact}, expected one of them")
        folder, artifact = places[0], source.name
    if (folder / MANIFEST_FILE).is_file():
        yield _of_bundle(folder, artifact)
        return
    with opened(read_run, folder) as run:
        yield _of_run(run, artifact)


def _of_run(run: Run, artifact: str | None) -> LanguageFile:
    from edgedistill.export.programs import load_signature
    from edgedistill.records.summary import Summary
    from edgedistill.tasks.causal_lm import chat, schema
    from edgedistill.tasks.causal_lm.facts import LanguageFacts
    from edgedistill.tasks.causal_lm.glue.python.prompts import special_tokens

    if not run.path("summary.json").is_file():
        raise UserError(f"{run.shown} has no summary.json yet; finish it with `edgedistill run` of its recipe")
    summary = Summary.read(run.path("summary.json"))
    _check_task(str(summary.recipe.effective["task"]), f"{run.shown} is a run")
    files = {made.name: made for made in run.artifacts() if made.role == "student"}
    if not files:
        raise UserError(f"{run.shown} has no artifacts; make them with `edgedistill export {run.shown}`")
    order = next((ship.order for ship in summary.ship.values() if ship.order), [])
    made = files[_chosen(artifact, list(files), order, str(run.shown))]
    if (why := run.changed(made)) is not None:
        raise UserError(why)
    run.check("data")
    place, known = run.work("data", chat.FOLDER), LanguageFacts.read(run.work("data"))
    template, own = place / chat.FILES[2], run.work("data", schema.FILE)
    return _file(
        ArtifactSpec(made.format, made.precision, delegate=made.delegate, input=made.input), made.name, run.path(made.path),
        load_signature(run.work(made.program)), end=known.end, tokenizer=place / chat.FILES[0],
        special=special_tokens(read_json(place / chat.FILES[1])), template=template if template.exists() else None,
        schema=own if own.exists() else None,
    )  # fmt: skip


def _of_bundle(folder: Path, artifact: str | None) -> LanguageFile:
    from edgedistill.bundle.check import read_manifest
    from edgedistill.bundle.opened import opened as opened_bundle

    with opened_bundle(folder) as bundle:
        manifest = read_manifest(bundle)
        _check_task(manifest.task, f"{folder} is a bundle")
        entries = {entry.name: entry for entry in manifest.artifacts}
        entry = entries[_chosen(artifact, list(entries), manifest.ship.order, str(folder))]
        parts = manifest.preprocessing
        given: Any = next((facts for facts in parts.inputs.values() if facts.get("kind") == "text"), {})
        answer: Any = next((facts for facts in parts.outputs.values() if facts.get("kind") == "next token"), {})
        if not ({"tokenizer", "template", "special_tokens"} <= given.keys() and isinstance(answer.get("end"), int)):
            raise UserError(
                f"{folder}/{MANIFEST_FILE} does not say how its language model is used; write the bundle again with `edgedistill bundle`"
            )

        def checked(name: Any) -> Path:
            return _checked(bundle, manifest.files, name)

        return _file(
            ArtifactSpec(entry.format, entry.precision, delegate=entry.delegate, input=entry.input), entry.name, checked(entry.name),
            manifest.signature, end=answer["end"], tokenizer=checked(given["tokenizer"]),
            special={str(key): str(value) for key, value in given["special_tokens"].items()},
            template=checked(given["template"]) if given["template"] else None,
            schema=checked(answer["schema"]) if answer.get("schema") else None,
        )  # fmt: skip


def _file(
    spec: ArtifactSpec, name: str, path: Path, signature: Signature, *, end: int, tokenizer: Path, special: dict[str, str],
    template: Path | None, schema: Path | None,
) -> LanguageFile:  # fmt: skip
    if (why := not_here(spec.format, spec.delegate, path)) is not None:
        raise UserError(f"{name} does not run here: {why}. Name another file by --artifact")
    adapter, vocabulary = executor_of(spec), signature.outputs[0].shape[-1]
    assert isinstance(vocabulary, int)
    return LanguageFile(
        name, str(path), adapter.module, adapter.executed_by, signature.forward.model_dump(mode="json"), vocabulary,
        signature.limits["tokens"], backend(spec.format).prompt_pieces.get(spec.precision), end, str(tokenizer), special,
        None if template is None else str(template), None if schema is None else str(schema),
    )  # fmt: skip


def _check_task(task: str, what: str) -> None:
    if task != _TASK:
        raise UserError(f"{what} of the task {task}, expected {_TASK}: only language models answer prompts")


def _chosen(artifact: str | None, names: list[str], order: list[str], where: str) -> str:
    if artifact is None:
        if not order:
            raise UserError(f"{where} ships no file yet; name one by --artifact: {', '.join(names)}")
        return order[0]
    if artifact not in names:
        raise UserError(f"{where} has no file {artifact}, expected one of {', '.join(names)}{nearest(artifact, names)}")
    return artifact


def _checked(bundle: OpenedBundle, files: Mapping[str, str], name: Any) -> Path:
    """A file of a bundle whose hash is that of the manifest."""
    if not isinstance(name, str) or name not in files or name not in bundle.sizes:
        raise UserError(f"{bundle.path} has no file {name}; get the bundle again")
    if bundle.sha256(name) != files[name]:
        raise UserError(f"{name} of {bundle.path} was changed or damaged; get the bundle again")
    return bundle.path / name
