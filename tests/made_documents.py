"""Measurement documents as the devices of a project would give them, and results of artifacts."""

from typing import Any

import numpy as np
from made_load import made

from edgedistill.measure.stress import stress_figures
from edgedistill.records import ArtifactResult, Unavailable

DEVICES = {
    "adb:0A1B2C": {"model": "Pixel 8", "soc": "Tensor G3", "os": "Android 15", "abi": "arm64-v8a", "kernel": "5.15.137", "cores": 9},
    "ssh:pi@pi5": {"model": "Raspberry Pi 5 Model B", "soc": "BCM2712", "os": "Debian", "abi": "aarch64", "kernel": "6.12.20", "cores": 4},
}
BUILD = "CPU, glibc build, not the app's build"


def document(kind, spec, name, validity="valid", reasons=(), **more):
    return {
        "schema": "edgedistill/measurement/1",
        "kind": kind,
        "created": "2026-11-25T15:00:00+00:00",
        "device": {"spec": spec, "memory_bytes": 8 * 2**30, **DEVICES[spec]},
        "artifact": {"name": name, "file": name, "format": "litert", "precision": "int8", "bytes": 4_000_000, "sha256": "0" * 64},
        "build": BUILD,
        "threads": 4,
        "validity": validity,
        "reasons": list(reasons),
        **more,
    }


def bench(spec, name, p50, **more):
    figures = {
        "latency_ms": {"p50": p50, "p95": 1.1 * p50, "p99": 1.3 * p50, "n": 2048},
        "intervals_ms": {"p50": [0.99 * p50, 1.01 * p50], "p95": [1.05 * p50, 1.2 * p50], "p99": [1.2 * p50, 1.5 * p50]},
        "load_ms": {"cold": 31.5, "warm": 9.1},
        "peak_rss_mb": 18.2,
        "energy": {"mj_per_inference": 3.1, "interval": [2.9, 3.3]},
        "outputs": {"exact": 1.0, "ok": True},
    }
    return document("bench", spec, name, **figures | more)


def stress(spec, name, seconds=300, onset=140, **more):
    def drop(t):
        return t > onset

    sensors = {
        "temperature.cpu": ("°C", lambda t: 42 + 42 * (1 - np.exp(-t / 90))),
        "temperature.gpu": ("°C", lambda t: 40 + 28 * (1 - np.exp(-t / 120))),
        **{f"frequency.cpu{core}": ("MHz", lambda t: 1800) for core in range(4)},
        **{f"frequency.cpu{core}": ("MHz", lambda t: 1500 if drop(t) else 2400) for core in range(4, 8)},
        "battery.charge": ("µAh", lambda t: 4_000_000 - 1000 * int(t * 0.2)),
        "battery.level": ("%", lambda t: 90),
        "battery.usb": ("1", lambda t: 0),
        "power.core": ("W", lambda t: 3.1 if drop(t) else 4.2),
    }
    records = made(
        seconds, latency_ms=4, noise=0.08, slower=lambda t: 1.5 if drop(t) else 1.0, sensors=sensors,
        rss_mb=lambda t: 80 + 3 * (1 - np.exp(-t / 20)), **more,
    )  # fmt: skip
    return document("stress", spec, name, stress=stress_figures(records))


def made_result(format_: str, precision: str, **fields: Any) -> ArtifactResult:
    """What is known of an int8 or other artifact of the student that was executed and nothing else; `fields` are known as well."""
    none = Unavailable(unavailable="not asked for")
    figures = dict.fromkeys(("delegation", "parity", "load_ms", "first_inference_ms", "latency_ms", "peak_rss_mb"), none)
    known = {"bytes": 1, "sha256": "", "export_seconds": 0.0, "accuracy": {"val": none, "holdout": none}, "budgets": []}
    return ArtifactResult(format_, precision, **figures | known | {"executed_by": "own_runtime", "ok": True, "runtime": {}} | fields)
