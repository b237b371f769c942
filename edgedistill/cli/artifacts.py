"""The commands that take a finished run: export, verify, bench, report."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgedistill.cli.output import finish
from edgedistill.cli.tables import show_artifacts
from edgedistill.errors import UserError

if TYPE_CHECKING:
    from edgedistill.records import Score, Unavailable
    from edgedistill.records.documents import Benched, BenchedFile, Exported, Port, Reported, Verified, VerifiedFile


def _folder(run_folder: Path | None, runs_dir: Path) -> Path:
    from edgedistill.steps import flow

    return run_folder if run_folder is not None else flow.newest_run(runs_dir)


def export(run_folder: Path | None, targets: list[str], out: Path | None, runs_dir: Path, *, fresh: bool, as_json: bool) -> None:
    """Lower, verify and bundle."""

    def work() -> Exported:
        from edgedistill.recipe.targets import load_target
        from edgedistill.steps import flow

        for name in targets:
            load_target(name)
        return flow.export(_folder(run_folder, runs_dir), targets, out, fresh=fresh)

    finish(as_json, work, show_artifacts)


def check_no_model(options: Mapping[str, object], *, as_json: bool) -> None:
    """End with an error if options for the user's own model are given without --model."""
    if given := [option for option, value in options.items() if value is not None]:

        def work() -> Exported:
            raise UserError(f"found {' and '.join(given)} without --model, expected --model torch:MODULE:FUNCTION or hf:FOLDER with it")

        finish(as_json, work, show_artifacts)


def export_model(
    run_folder: Path | None, model: str, facts: Mapping[str, Any], inputs: list[str], targets: list[str], out: Path | None,
    runs_dir: Path, *, fresh: bool, as_json: bool,
) -> None:  # fmt: skip
    """Quantize, lower, verify and bundle the user's own model.

    facts: the other fields of `UserModel`, from the options. inputs: what `--input` said.
    """

    def work() -> Exported:
        from edgedistill.tasks.user_model import UserModel, recipe_of

        if run_folder is not None:
            raise UserError(f"found a run, {run_folder}, and --model {model}; expected one of them")
        if facts["calibration"] is None:
            found = f"found --model {model} without --calibration"
            raise UserError(f"{found}; expected samples to quantize and verify it with: images, or an .npz of arrays")
        channels = {key: _channels(f"--{key}", facts[key]) for key in ("mean", "std") if facts[key] is not None}
        loaded = recipe_of(UserModel(model, **{**facts, **channels, "inputs": tuple(inputs)}), targets)
        from edgedistill.steps import flow

        return flow.export_model(loaded, runs_dir, targets, out, fresh=fresh)

    finish(as_json, work, show_artifacts)


def _channels(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"{option}: found '{text}', expected three numbers with commas between them, as 0.5,0.5,0.5") from error


def verify(run_or_file: Path | None, against: Path | None, runs_dir: Path, *, as_json: bool) -> None:
    """Verify a run again, or a file against the run `against`."""

    def work() -> Verified | VerifiedFile:
        if against is None and run_or_file is not None and _is_model(run_or_file):
            raise UserError(f"{run_or_file} names a model file and not a run; name the run to compare it with by --against RUN")
        from edgedistill.steps import flow

        if against is None:
            return flow.verify(_folder(run_or_file, runs_dir))
        if run_or_file is None:
            raise UserError(f"found --against {against} and no file; expected `edgedistill verify FILE --against RUN`")
        return flow.verify_file(run_or_file, against)

    def show(document: Verified | VerifiedFile) -> None:
        from edgedistill.records.documents import VerifiedFile

        if isinstance(document, VerifiedFile):
            _show_file(document)
        else:
            show_artifacts(document)

    finish(as_json, work, show)


def _is_model(path: Path) -> bool:
    """Whether the path names a model file, which may be missing, and not the folder of a run."""
    from edgedistill.backends import of_suffix

    return path.is_file() or of_suffix(path) is not None


def _show_file(document: VerifiedFile) -> None:
    from edgedistill.records import Unavailable

    parity, score = document.parity, document.score
    for warning in document.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    what = f"{document.format}, {document.precision}, {document.bytes / 1024:.0f} KiB"
    print(f"{document.file}: {what}, SHA-256 {document.sha256}")
    if isinstance(parity, Unavailable):
        print(f"{'not executed' if document.ok is None else 'FAILED: it did not run'}: {parity.unavailable}")
        return
    print(f"{document.metric.title} on val: {_score(score.file)}; the run's student, fp32: {_score(score.student)}")
    if parity.reason is not None:
        distance = parity.reason
    else:
        if parity.max_abs is not None:
            distance = f"at most {parity.max_abs:.2g} apart"
        else:
            distance = f"{100 * (parity.exact or 0):.2f}% exact, mean {parity.mean_lsb:.2f} LSB, at most {parity.max_lsb:.3g} LSB"
        distance += f", {parity.flips} of {parity.n} predictions flipped" if parity.flips is not None else ""
    print(f"against {parity.reference} of {document.run}: {distance}")
    if document.own is not None and document.own.same:
        print(f"it is the run's own {document.own.name}, byte for byte")
    print(f"{'ok' if document.ok else 'CHECK FAILED'}: the rule is {parity.rule}")


def _score(score: Score | Unavailable) -> str:
    if score.value is None:
        return f"unavailable ({score.unavailable})"
    low, high = score.interval
    return f"{100 * score.value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def bench(run_or_file: Path | None, runs_dir: Path, *, as_json: bool) -> NoReturn:
    """Measure a run again, or a file."""
    file = run_or_file if run_or_file is not None and _is_model(run_or_file) else None

    def work() -> Benched | BenchedFile:
        from edgedistill.steps import flow

        return flow.bench_file(file) if file is not None else flow.bench(_folder(run_or_file, runs_dir))

    def show(document: Benched | BenchedFile) -> None:
        from edgedistill.cli.harness import generation_table
        from edgedistill.cli.tables import console
        from edgedistill.records.documents import BenchedFile

        if isinstance(document, BenchedFile):
            _show_measured(document)
            files = [(Path(document.file).name, document.generation)]
        else:
            show_artifacts(document)
            files = [(artifact.name, artifact.generation) for artifact in document.artifacts]
        if table := generation_table(files):
            console().print(table)

    finish(as_json, work, show)


def _show_measured(document: BenchedFile) -> None:
    from edgedistill.records import Load, Unavailable

    latency, load, peak = document.latency_ms, document.load_ms, document.peak_rss_mb
    for warning in document.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{document.file}: {document.format}, {document.bytes / 1024:.0f} KiB, {_ports(document.inputs)}")
    if isinstance(latency, Unavailable) or not isinstance(load, Load):
        print(f"{'not measured' if document.status == 'ok' else 'FAILED'}: {getattr(latency, 'unavailable', '')}")
        return
    low, high = document.median_interval_ms
    tail = f"p95 {latency.p95:.3f} ms" if isinstance(latency.p95, float) else f"p95 unavailable ({latency.p95.unavailable})"
    steady = "" if document.steady else ", not steady after the warm-up"
    print(f"p50 {latency.p50:.3f} ms [{low:.3f}, {high:.3f}], {tail}, {latency.n} samples, {document.threads} thread(s){steady}")
    memory = f"{peak:.1f} MiB" if isinstance(peak, float) else f"unavailable ({peak.unavailable})"
    print(f"load {load.cold:.1f} ms cold, {load.warm:.1f} ms warm; first inference {document.first_inference_ms:.1f} ms")
    print(f"peak memory {memory}")


def _ports(ports: list[Port]) -> str:
    return ", ".join(f"{port.name} {port.dtype} {port.shape}" for port in ports)


def report(run_folder: Path | None, runs_dir: Path, *, open_it: bool, as_json: bool) -> None:
    """Write the report again."""

    def work() -> Reported:
        from edgedistill.records.documents import Reported
        from edgedistill.steps import flow

        path = flow.report(_folder(run_folder, runs_dir))
        if open_it:
            import webbrowser

            webbrowser.open(path.resolve().as_uri())
        return Reported(report=str(path))

    finish(as_json, work, lambda document: print(document.report))
