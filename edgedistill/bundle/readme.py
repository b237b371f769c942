"""README.md of a bundle: what a mobile engineer reads first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgedistill.backends import backend
from edgedistill.records import Unavailable
from edgedistill.records.gate import CARD_FILE, CARD_PAGE
from edgedistill.records.manifest import Candidate, Manifest

README = "README.md"
_FIRST = 1


@dataclass(frozen=True)
class Usage:
    """How an app takes the bundle in one language: its name, steps, and a few lines of code."""

    language: str
    title: str
    steps: tuple[str, ...]
    fence: str
    code: str


def readme(manifest: Manifest, usages: Sequence[Usage], without: Sequence[str] = (), *, carded: bool = False) -> str:
    """The text of the README, in Markdown. without: sentences on glue code that is left out. carded: there is a release card."""
    return (
        "\n".join([*_ship(manifest), *_use(usages, without), *_contract(manifest, usages), *_files(manifest, usages, carded=carded)]) + "\n"
    )


def _ship(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.name} for {manifest.target.name}"
    yield ""
    first = manifest.ship.first
    if isinstance(first, Unavailable):
        yield f"**Ship none of these files yet**: {first.unavailable}."
    else:
        yield f"**Ship `{first.name}`.** Why:"
        yield ""
        yield from (f"- {reason}" for reason in first.reasons)
    yield ""
    if manifest.ship.others:
        yield "If it does not fit your app, for example because the app has another runtime, take the next of these:"
        yield ""
        yield from (_other(number, candidate) for number, candidate in enumerate(manifest.ship.others, 1))
        yield ""
    yield from (f"- {text}" for text in manifest.ship.missing)
    yield f"The bundle is for: {manifest.target.description} Oldest system: {manifest.target.minimum_os}."
    yield ""


def _other(number: int, candidate: Candidate) -> str:
    return f"{number}. `{candidate.name}`: {' '.join(candidate.reasons[_FIRST:]) or candidate.reasons[0]}"


def _use(usages: Sequence[Usage], without: Sequence[str]) -> Iterator[str]:
    for usage in usages:
        yield f"## {usage.title}"
        yield ""
        yield from (f"{number}. {step}" for number, step in enumerate(usage.steps, 1))
        yield ""
        yield from (f"```{usage.fence}", usage.code.strip("\n"), "```", "")
    for sentence in without:
        yield from (sentence, "")


def _contract(manifest: Manifest, usages: Sequence[Usage]) -> Iterator[str]:
    yield "## What goes in and what comes out"
    yield ""
    yield "| artifact | inputs | outputs | runtime | system |"
    yield "|---|---|---|---|---|"
    for entry in manifest.artifacts:
        inputs, outputs = (
            ", ".join(f"`{spec}`{f' {spec.layout}' if spec.layout else ''}" for spec in specs)
            for specs in (entry.signature.inputs, entry.signature.outputs)
        )
        runtime = ", ".join(f"{name} {version} or later" for name, version in entry.minimum_runtime.items()) or "that of the system"
        # Formats know all systems, and a target means some of them.
        meant = manifest.target.minimum_os.lower()
        system = ", ".join(f"{name} {version}" for name, version in entry.minimum_os.items() if name in meant) or "any"
        yield f"| `{entry.name}` | {inputs} | {outputs} | {runtime} | {system} |"
    yield ""
    for kind, parts in (("input", manifest.preprocessing.inputs), ("output", manifest.preprocessing.outputs)):
        for name, facts in parts.items():
            yield f"The {kind} `{name}`:"
            yield ""
            yield from (f"- {key.replace('_', ' ')}: {_text(value)}" for key, value in facts.items() if value is not None)
            yield ""
    yield from _state(manifest)
    if manifest.preprocessing.inputs and usages:
        yield "The glue code does all of this, and `selfTest` shows on the device that it does it as in training."
        yield ""


def _state(manifest: Manifest) -> Iterator[str]:
    """How files are called that keep something between calls."""
    signature = manifest.signature
    if not signature.state:
        return
    size = sum(spec.nbytes for spec in signature.state) / 2**20
    limits = ", ".join(f"`{name}` up to {most}" for name, most in signature.limits.items())
    yield f"The files keep {len(signature.state)} tensors from one call to the next, {size:.1f} MiB, zero at first. Sizes vary: {limits}."
    where = {entry.format: backend(entry.format).state for entry in manifest.artifacts}
    for format_ in (name for name, kept in where.items() if kept == "outside"):
        yield f"In {backend(format_).title} they are further inputs: give each the output of the last call that has its name with `_next`."
        if not backend(format_).varying_shapes:
            yield "Its shapes are fixed: a file has a method for each of some sizes, such as `tokens_1`, and takes longer inputs in pieces."
    yield ""


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_text(inner)}" for key, inner in value.items())
    return f"[{', '.join(_text(inner) for inner in value)}]" if isinstance(value, list) else str(value)


def _files(manifest: Manifest, usages: Sequence[Usage], *, carded: bool) -> Iterator[str]:
    yield "## Files"
    yield ""
    for entry in manifest.artifacts:
        verified = {True: "verified", False: "failed its check", None: "not executed where it was made"}[entry.ok]
        yield f"- `{entry.name}`: {entry.precision}, {entry.bytes:,} bytes, {verified}"
    yield "- `manifest.json`: everything on this page for programs, and the SHA-256 of each file"
    yield "- `golden/`: inputs, and what each artifact gave for them; the self-test compares with them"
    if carded:
        yield f"- `{CARD_PAGE}`, `{CARD_FILE}`: the release card, what the gate decided about these files and by which figures"
    yield from (f"- `{usage.language}/`: glue code" for usage in usages)
    yield ""
    yield "Check a copy with `edgedistill bundle check DIR`; `edgedistill bundle diff OLD NEW` says what an app has to change."
    yield ""
    licenses = manifest.licenses
    for name, value in (("code", licenses.code), ("data", licenses.data), ("teacher", licenses.teacher)):
        yield f"- Licence of the {name}: {value.unavailable if isinstance(value, Unavailable) else value}"
