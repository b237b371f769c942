"""Lowers programs to artifacts, one child process a format."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedistill import child, scratch, storage
from edgedistill.errors import DeviceFailed
from edgedistill.files import read_json, remove, sha256_tree, tree_bytes, write_json
from edgedistill.measure.runner import bounded
from edgedistill.records import Artifact, ArtifactSpec, Lowered, NotLowered

_TIMEOUT_S = 1800
_TAIL = 1 << 16


def lower(specs: Sequence[ArtifactSpec], run: Path, folder: Path, log: Path, metadata: dict[str, str]) -> Lowered:
    """Make the artifacts `specs` (all of one format) in `folder` from the saved programs in the folder `run`.

    What fails is in `not_lowered` with the reason, and the others are made: a converter that crashes is started again for them.
    Raises StorageFailed where the disk is full.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    waiting, artifacts, failed, peaks = list(specs), list[Artifact](), list[NotLowered](), list[float]()
    while waiting:
        answers, peak, ended = _child(waiting, run, folder, log, metadata)
        peaks.append(peak)
        if len(answers) < len(waiting):
            answers.append({"error": ended or "the converter ended before the file was made"})
        for spec, answer in zip(waiting, answers, strict=False):
            if "error" in answer:
                remove(folder / spec.name)
                reason = f"{answer['error']}. The log is {log}"
                failed.append(NotLowered(name=spec.name, format=spec.format, precision=spec.precision, reason=reason))
            else:
                artifacts.append(_artifact(spec, folder / spec.name, answer))
        waiting = waiting[len(answers) :]
    error = f"{failed[0].name}: {failed[0].reason}" if failed else None
    return Lowered(artifacts=artifacts, not_lowered=failed, peak_rss_mb=max(peaks) or None, error=error)


def lower_one(spec: ArtifactSpec, run: Path, folder: Path, log: Path, metadata: dict[str, str]) -> Artifact:
    """The same for one file. Raises DeviceFailed with the reason when it cannot be made."""
    lowered = lower([spec], run, folder, log, metadata)
    if lowered.error is not None:
        raise DeviceFailed(lowered.error)
    return lowered.artifacts[0]


def _child(
    specs: Sequence[ArtifactSpec], run: Path, folder: Path, log: Path, metadata: dict[str, str]
) -> tuple[list[dict[str, Any]], float, str | None]:
    """Lower `specs` in a process: what it says of each, its peak memory in MiB, and how it ended where it did not reach the last."""
    items = [
        {"program": str(run / s.program), "path": str(folder / s.name), "spec": s.model_dump(), "metadata": metadata | {"role": s.role}}
        for s in specs
    ]
    with scratch.temporary() as place, open(log, "ab") as handle:
        job, result = place / "job.json", place / "result.json"
        write_json(job, {"format": specs[0].format, "lower": items, "result": str(result)})
        write_json(result, {"lowered": [], "peak_rss_mb": 0.0})
        command, code = child.command("edgedistill.export.worker", str(job)), None
        try:
            code = child.run(command, timeout_s=_TIMEOUT_S, files={handle: bounded.LOG_LIMIT}, stdout=handle, stderr=handle).returncode
            ended = f"the converter ended with exit status {code}: {_last_line(log)}" if code else None
        except subprocess.TimeoutExpired:
            ended = f"the converter took more than {_TIMEOUT_S} s"
        except bounded.TooMuchOutput as error:
            ended = f"the converter, {error}"
        answer = read_json(result)
    if code and (full := storage.failure_in(_last_line(log), folder, code)):
        raise full
    return answer["lowered"], answer["peak_rss_mb"], ended


def _last_line(log: Path) -> str:
    lines = [line for line in bounded.tail(log, _TAIL).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def _artifact(spec: ArtifactSpec, path: Path, answer: dict[str, Any]) -> Artifact:
    facts = {"bytes": tree_bytes(path), "sha256": sha256_tree(path)} | {key: answer[key] for key in ("seconds", "signature", "mixed")}
    return Artifact(**spec.model_dump(exclude={"name"}), **facts)
