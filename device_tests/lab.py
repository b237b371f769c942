"""A device that is ready, and what was measured on it: each thing once, whichever tests ask for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.measure import document
from edgedistill.measure.harness import Protocol, Subject, side
from edgedistill.measure.job import RunJob, StressJob, by_name
from edgedistill.measure.places import Place
from edgedistill.measure.records import Execution, to_execution
from edgedistill.measure.series import Series, series_of
from edgedistill.measure.stress import stress_figures
from edgedistill.records.measurements import Measurement
from edgedistill.records.stress import StressFigures, StressLoad

_TIMEOUT_S = 3600.0


class Lab:
    """`folder` takes outputs and logs."""

    def __init__(self, where: Place, folder: Path, protocol: Protocol) -> None:
        self.where, self.folder, self._protocol = where, folder, protocol
        self._done: dict[tuple[str, ...], Any] = {}

    @property
    def emulated(self) -> str | None:
        """Why the device's times say nothing, or None."""
        return self.where.facts.emulated

    def executed(self, subject: Subject) -> tuple[Execution, dict[str, np.ndarray]]:
        """The golden inputs run by a file, and its outputs [N, ...] by name."""
        return self._once(("executed", subject.name), lambda: self._execute(subject))

    def benched(self, subject: Subject) -> tuple[Measurement, dict[str, Series]]:
        """The record of a benchmark of a file, and the series of the sensors meanwhile."""
        return self._once(("benched", subject.name), lambda: self._bench(subject))

    def stressed(self, subject: Subject, seconds: float) -> StressFigures:
        """The figures of a file that ran back to back for so long."""
        job = StressJob(
            side=side(subject, self.where), threads=self._protocol.threads, stress=StressLoad(seconds=seconds).model_dump(),
            conditions=self._protocol.conditions,
        )  # fmt: skip
        figures = self.where.run(job, log=self.folder / "log.txt", timeout_s=seconds + _TIMEOUT_S, reduce=stress_figures)
        assert isinstance(figures, StressFigures), figures
        return figures

    def _execute(self, subject: Subject) -> tuple[Execution, dict[str, np.ndarray]]:
        outputs = by_name(subject.method.outputs, self.folder / subject.name)
        job = RunJob(side=side(subject, self.where), threads=self._protocol.threads, outputs=outputs, bench=None)
        done = self.where.run(job, log=self.folder / "log.txt", timeout_s=_TIMEOUT_S, reduce=lambda records: to_execution(records, outputs))
        return done, {name: np.load(path) for name, path in outputs.items()}

    def _bench(self, subject: Subject) -> tuple[Measurement, dict[str, Series]]:
        job = RunJob(
            side=side(subject, self.where), threads=self._protocol.threads, outputs=None, bench=self._protocol.sampling,
            conditions=self._protocol.conditions,
        )  # fmt: skip
        records, done = self.where.run(
            job, log=self.folder / "log.txt", timeout_s=_TIMEOUT_S, reduce=lambda found: (found, to_execution(found, None))
        )
        setup = self.where.setup("bench", subject.artifact, self._protocol.threads)
        return document.measurement(setup, self._protocol.asked, self.emulated, done, records, {}), series_of(records)

    def _once(self, key: tuple[str, ...], make: Callable[[], Any]) -> Any:
        if key not in self._done:
            try:
                self._done[key] = make()
            except Exception as error:
                # Every test that needs it fails with it, and the device is not asked again.
                self._done[key] = error
        if isinstance(self._done[key], Exception):
            raise self._done[key]
        return self._done[key]
