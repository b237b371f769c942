"""Reads what `bench --device` measured of the files of a run."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import JsonValue

from edgedistill.errors import DamagedFile
from edgedistill.files import read_json, reading
from edgedistill.progress import log
from edgedistill.records import ArtifactResult
from edgedistill.run import Run


def measured(run: Run, artifacts: Iterable[ArtifactResult]) -> list[dict[str, JsonValue]]:
    """What was measured of these files (by their hash, so that none stands for another), by device."""
    hashes = {artifact.sha256 for artifact in artifacts}
    return [measurement for path in sorted(run.work("devices").glob("*.json")) for measurement in _of(path, hashes)]


def _of(path: Path, hashes: set[str]) -> list[dict[str, JsonValue]]:
    try:
        with reading(path):
            return [measurement for measurement in read_json(path) if measurement["artifact"]["sha256"] in hashes]
    except DamagedFile as error:
        log(f"warning: {error}; remove it, and measure again with `edgedistill bench --device`")
        return []
