"""What the app has predicted so far: for the lines it prints, the live view and the summary."""

from __future__ import annotations

import json
import math
import statistics
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .health import Health

if TYPE_CHECKING:
    from quickstart_model import Model, Prediction

_KEPT = 100
_FEWEST_FOR_P95 = 20
_TOP = 3


class Record:
    """Counts, the last prediction, and the latencies of the last 100. Threads may share it."""

    def __init__(self) -> None:
        self.health = Health()
        self.skipped = 0
        self._lock = threading.Lock()
        self._count, self._latencies = 0, deque[float](maxlen=_KEPT)
        self._state: dict[str, Any] = {"status": "loading", "model": None, "self_test": "not run", "prediction": None}
        self._began: float | None = None

    def loaded(self, model: Model) -> None:
        """The model is loaded."""
        info = model.info
        about = {"artifact": info.artifact, "runtime": f"{info.runtime} {info.version}", "delegate": info.delegate}
        with self._lock:
            self._state |= {"status": "running", "model": {"name": model.bundle.manifest["name"], **about}}
            self._began = time.monotonic()

    def tested(self) -> None:
        """The self-test was passed."""
        with self._lock:
            self._state["self_test"] = "passed"

    def predicted(self, source: str, prediction: Prediction, latency_ms: float) -> dict[str, Any]:
        """Add a prediction. Returns its document.

        latency_ms: from the frame in memory to the labels: preparing the pixels and running the model.
        """
        top = prediction.top(_TOP)
        document: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            # Linux allows file names that are no UTF-8.
            "source": source.encode(errors="backslashreplace").decode(),
            "label": top[0].label,
            "probability": top[0].probability,
            "top": [{"label": score.label, "probability": score.probability} for score in top],
            "latency_ms": round(latency_ms, 3),
        }
        with self._lock:
            self._count += 1
            self._latencies.append(latency_ms)
            self._state["prediction"] = document
        return document

    @property
    def count(self) -> int:
        """Predictions so far."""
        with self._lock:
            return self._count

    def document(self) -> dict[str, Any]:
        """Everything the live view shows."""
        celsius, throttling = self.health.read()
        with self._lock:
            count, latencies, state = self._count, list(self._latencies), dict(self._state)
        return {
            **state,
            "predictions": count,
            "skipped": self.skipped,
            "latency_ms": latency(latencies),
            "temperature_c": celsius.document,
            "throttling": throttling.document,
        }

    def summary(self) -> str:
        """One line for the end."""
        if not self.count or self._began is None:
            return f"no prediction, {self.skipped} skipped; the model was {'not ' * (self._began is None)}loaded"
        now, (celsius, throttling) = self.document(), self.health.read()
        figures = [f"{name} {_words(now['latency_ms'][name])}" for name in ("median", "p95")]
        return (
            f"{now['predictions']} prediction(s), {self.skipped} skipped, in {time.monotonic() - self._began:.1f} s; "
            f"latency of the last {now['latency_ms']['count']}: {', '.join(figures)}; "
            f"SoC {celsius.words(' °C')}; throttling {throttling.words()}"
        )


def latency(samples: list[float]) -> dict[str, Any]:
    """Median and 95th percentile (nearest rank) of milliseconds; too few samples give a reason instead."""
    count, median, p95 = len(samples), _missing("no prediction yet"), _missing(f"needs {_FEWEST_FOR_P95} predictions")
    if samples:
        median = {"value": round(statistics.median(samples), 3)}
    if count >= _FEWEST_FOR_P95:
        p95 = {"value": round(sorted(samples)[math.ceil(0.95 * count) - 1], 3)}
    return {"count": count, "median": median, "p95": p95}


def line(document: dict[str, Any], *, as_json: bool) -> str:
    """A prediction as the app prints it."""
    if as_json:
        return json.dumps(document)
    return f"{document['source']}: {document['label']} {document['probability']:.1%} ({document['latency_ms']:.2f} ms)"


def _missing(why: str) -> dict[str, Any]:
    return {"value": None, "unavailable": why}


def _words(figure: dict[str, Any]) -> str:
    return f"unavailable ({figure['unavailable']})" if figure["value"] is None else f"{figure['value']:.2f} ms"
