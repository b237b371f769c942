"""Each device under a load that lasts."""

from collections.abc import Callable

import pytest

from device_tests.lab import Lab
from edgedistill.measure.harness import Subject

Record = Callable[[str, object], None]


@pytest.mark.stress
def test_a_load_of_minutes(lab: Lab, subject: Subject, request: pytest.FixtureRequest, record_property: Record) -> None:
    _withstands(lab, subject, request.config.getoption("--stress-minutes"), record_property)


@pytest.mark.soak
def test_a_load_of_hours(lab: Lab, subject: Subject, request: pytest.FixtureRequest, record_property: Record) -> None:
    minutes = request.config.getoption("--soak-minutes")
    if minutes is None:
        pytest.skip("give --soak-minutes")
    _withstands(lab, subject, minutes, record_property)


def _withstands(lab: Lab, subject: Subject, minutes: float, record_property: Record) -> None:
    """The load lasts as long as it has to, outputs stay what they were, and memory does not grow for ever."""
    found = lab.stressed(subject, 60 * minutes)
    written = found.model_dump(mode="json")
    for name in ("throughput", "throttling", "latency_ms", "temperature", "memory"):
        record_property(name, written[name])
    assert found.ended == "time", found.events
    assert found.outputs.checked > 0
    assert found.outputs.changed == 0
    assert [memory for memory in written["memory"] if memory.get("verdict") == "leak"] == []
