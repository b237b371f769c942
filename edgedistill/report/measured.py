"""Reads what `bench --device` measured of the files of a run."""

from collections.abc import Iterable

from pydantic import JsonValue

from edgedistill.files import read_json
from edgedistill.records import ArtifactResult
from edgedistill.run import Run


def measured(run: Run, artifacts: Iterable[ArtifactResult]) -> list[dict[str, JsonValue]]:
    """What was measured of these files (by their hash, so that none stands for another), by device."""
    hashes = {artifact.sha256 for artifact in artifacts}
    measurements = [measurement for path in sorted(run.work("devices").glob("*.json")) for measurement in read_json(path)]
    return [measurement for measurement in measurements if measurement["artifact"]["sha256"] in hashes]
