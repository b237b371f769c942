"""Measurements as the project's store keeps them, and as commands print them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgedistill.records.base import Record
from edgedistill.records.comparisons import InterleavedComparison
from edgedistill.records.measurements import Measurement
from edgedistill.records.stress import StressDocument, StressTest
from edgedistill.records.verdicts import Status

AnyMeasurement = Annotated[Measurement | InterleavedComparison | StressTest, Field(discriminator="kind")]
"""A measurement of any kind."""


class _Named(Record):
    name: str | None = Field(description="Name that it was saved under.")


class StoredMeasurement(_Named, Measurement):
    """A measurement in the store."""


class StoredComparison(_Named, InterleavedComparison):
    """A comparison in the store."""


class StoredStressTest(_Named, StressTest):
    """A stress test in the store."""


Stored = Annotated[StoredMeasurement | StoredComparison | StoredStressTest, Field(discriminator="kind")]
"""A measurement of any kind in the store."""


class Results(Record):
    """What `results` prints."""

    measurements: list[Stored]


class ExportedResults(Record):
    """What `results --export` prints."""

    export: str = Field(description="The file.")
    rows: int


class DeviceBench(Record):
    """What `bench --device` prints: the files of a run, or one file, measured on a device."""

    device: str
    status: Status
    measurements: list[Measurement]


class FailedDevice(Record):
    """A device on which the command failed while it continued on others."""

    device: str
    status: Status
    error: str


class FleetBench(Record):
    """What `bench --device` prints for several devices."""

    status: Status
    devices: list[DeviceBench | FailedDevice]


class FleetStress(Record):
    """What `stress` prints for several devices."""

    status: Status
    devices: list[StressDocument | FailedDevice]
