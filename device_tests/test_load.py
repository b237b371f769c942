"""Each device under a load that lasts."""

from collections.abc import Callable

import numpy as np
import pytest

from device_tests.lab import Lab
from edgedistill.measure.series import series_of
from edgedistill.pipeline.harness import Subject

# A leak of a kilobyte an inference would be far more after minutes; allocators keep some pages.
_GROWTH = 1.05


@pytest.mark.stress
def test_a_load_of_minutes(
    lab: Lab, subject: Subject, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    _withstands(lab, subject, request.config.getoption("--stress-minutes"), record_property)


@pytest.mark.soak
def test_a_load_of_hours(
    lab: Lab, subject: Subject, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    minutes = request.config.getoption("--soak-minutes")
    if minutes is None:
        pytest.skip("give --soak-minutes")
    _withstands(lab, subject, minutes, record_property)


def _withstands(lab: Lab, subject: Subject, minutes: float, record_property: Callable[[str, object], None]) -> None:
    """The load lasts as long as it has to, no instance dies, and after the first tenth of the time memory does not grow."""
    records = lab.stressed(subject, 60 * minutes)
    assert [record for record in records if record["type"] in ("aborted", "instance_died")] == []
    durations = [ns for record in records if record["type"] == "instance" for ns in record.get("durations_ns", [])]
    assert durations
    record_property("inferences_per_s", len(durations) / (60 * minutes))
    memory = {name: one for name, one in series_of(records).items() if name.startswith("memory.rss")}
    for name, one in memory.items():
        tenth = max(1, len(one.values) // 10)
        begins, ends = (float(np.median(part)) for part in (one.values[tenth : 2 * tenth + 1], one.values[-tenth:]))
        record_property(name, {"begins": begins, "ends": ends})
        assert ends <= _GROWTH * begins, f"{name} grew from {begins / 2**20:.1f} to {ends / 2**20:.1f} MiB within {minutes:g} minutes"
