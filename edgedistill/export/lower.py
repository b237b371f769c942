"""Lowers programs to artifacts, one child process a format."""

import subprocess
import sys
from pathlib import Path

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import read_json, sha256_tree, tree_bytes, write_json
from edgedistill.records import Artifact, ArtifactSpec, Lowered

_TIMEOUT_S = 1800


def lower(specs: list[ArtifactSpec], run: Path, folder: Path, log: Path, metadata: dict[str, str]) -> Lowered:
    """Make the artifacts `specs` (all of one format) in `folder` from the saved programs in the folder `run`.

    Raises UserError where the format cannot hold a program, before that is lowered, and DeviceFailed with the log's last line when the
    converter fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    job, result = folder / ".job.json", folder / ".result.json"
    result.unlink(missing_ok=True)
    items = [
        {"program": str(run / s.program), "path": str(folder / s.name), "spec": s.model_dump(), "metadata": metadata | {"role": s.role}}
        for s in specs
    ]
    write_json(job, {"format": specs[0].format, "lower": items, "result": str(result)})
    with open(log, "wb") as handle:
        try:
            command = [sys.executable, "-m", "edgedistill.export.worker", str(job)]
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, timeout=_TIMEOUT_S, check=False
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise DeviceFailed(f"lowering to {specs[0].format} took more than {_TIMEOUT_S} s; its log is {log}") from error
    if code != 0 or not result.exists():
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1][:300] if lines else "no output"
        raise DeviceFailed(f"lowering to {specs[0].format} failed with exit status {code}: {last}. Its log is {log}")
    answer = read_json(result)
    job.unlink()
    result.unlink()
    if "refused" in answer:
        raise UserError(answer["refused"])
    artifacts = []
    for spec, item in zip(specs, answer["lowered"], strict=True):
        path = folder / spec.name
        facts = {
            "bytes": tree_bytes(path),
            "sha256": sha256_tree(path),
            "seconds": item["seconds"],
            "signature": item["signature"],
            "mixed": item["mixed"],
        }
        artifacts.append(Artifact(**spec.model_dump(exclude={"name"}), **facts))
    return Lowered(artifacts=artifacts, peak_rss_mb=answer["peak_rss_mb"])
