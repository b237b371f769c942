"""Measurements as the devices of a project would give them, and results of artifacts."""

from pathlib import Path
from typing import Any

import numpy as np
from made_load import made

from edgedistill.bundle.ship import ship
from edgedistill.bundle.write import Contents, Sampled
from edgedistill.export.fitting import of_file
from edgedistill.measure.presets import COMPARE_PRESETS, PRESETS
from edgedistill.measure.stress import stress_figures
from edgedistill.recipe.targets import Target
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records.comparisons import InterleavedComparison
from edgedistill.records.manifest import Licenses, ModelFacts, Preprocessing
from edgedistill.records.measurements import Measurement
from edgedistill.records.metric import Metric
from edgedistill.records.stress import StressDocument, StressProtocol
from edgedistill.signature import Signature


def device(spec, model, soc, os, abi, kernel, cores):
    listed = [{"core": core, "max_mhz": 2400.0} for core in range(cores)]
    facts = {"model": model, "soc": soc, "os": os, "abi": abi, "kernel": kernel, "cores": listed}
    return {"spec": spec, **facts, "memory_bytes": 8 * 2**30}


DEVICES = {
    "adb:0A1B2C": device("adb:0A1B2C", "Pixel 8", "Tensor G3", "Android 15", "arm64-v8a", "5.15.137", 9),
    "ssh:pi@pi5": device("ssh:pi@pi5", "Raspberry Pi 5 Model B", "BCM2712", "Debian", "aarch64", "6.12.20", 4),
}
BUILD = "CPU, glibc build, not the app's build"


def about(kind, name, spec="adb:0A1B2C", precision=None):
    """What the JSON of all measurements has: what was measured, where, and with what."""
    artifact = {"name": name, "file": name, "format": "litert", "precision": precision or ("fp32" if "fp32" in name else "int8")}
    return {
        "schema": "edgedistill/measurement/1",
        "kind": kind,
        "created": "2026-11-25T15:00:00+00:00",
        "device": dict(DEVICES[spec]),
        "artifact": artifact | {"bytes": 4_000_000, "sha256": "0" * 64},
        "adapter": "edgedistill.backends.litert.adapter",
        "build": BUILD,
        "threads": 4,
        "validity": "valid",
        "reasons": [],
    }


def made_measurement(name, spec="adb:0A1B2C", p50=1.25, **changes):
    """The JSON of a measurement of a file that a kit ran."""
    figures = {
        "protocol": PRESETS["standard"].model_dump(),
        "versions": {"ai-edge-litert": "2.1"},
        "facts": {"cpu": "Cortex-A76", "cpu_flags": ["asimd"], "cores": 4, "platform": "Linux", "python": "3.13.1"},
        "load_ms": {"cold": 31.5, "warm": 9.1},
        "first_inference_ms": 3.5,
        "latency_ms": {"p50": p50, "p95": 1.1 * p50, "p99": 1.3 * p50, "n": 2048},
        "intervals_ms": {"p50": [0.99 * p50, 1.01 * p50], "p95": [1.05 * p50, 1.2 * p50], "p99": [1.2 * p50, 1.5 * p50]},
        "steady": True,
        "peak_rss_mb": 18.2,
        "peak_rss_source": "VmHWM",
        "energy": {
            "mj_per_inference": 3.1, "interval": [2.9, 3.3], "idle_w": 1.0, "power_w": 3.0, "source": "power.pmic", "window_s": 60.0,
            "n": 2048,
        },
        "outputs": {"ok": True, "close": True, "max_lsb": 0.0, "exact": 1.0, "n": 16, "rule": "<= 2 LSB"},
    }  # fmt: skip
    return about("bench", name, spec) | figures | changes


def bench(spec, name, p50, **changes):
    return Measurement(**made_measurement(name, spec, p50, **changes))


def compared(spec, a, b):
    """A comparison in which B takes 0.9 times as long as A."""
    known = made_measurement(a, spec, 5.0)
    side = {key: known[key] for key in ("latency_ms", "intervals_ms", "artifact")}
    side |= {"load_ms": 9.0, "first_inference_ms": 3.0, "steady": 1.0}
    return InterleavedComparison(
        **about("compare", b, spec), protocol=COMPARE_PRESETS["quick"], text="B is better", min_difference=0.005, verdict="better",
        ratio={"value": 0.9, "interval": [0.89, 0.91], "confidence": 0.95, "method": "made"}, rounds={"n": 1, "ratios": [0.9]},
        stopped="narrow", a=side, b=side | {"artifact": side["artifact"] | {"name": b}},
    )  # fmt: skip


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
    protocol = StressProtocol(preset="quick", seconds=seconds)
    return StressDocument(**about("stress", name, spec), protocol=protocol, stress=stress_figures(records))


def made_result(format_: str, precision: str, **fields: Any) -> ArtifactResult:
    """What is known of an int8 or other artifact of the student that was executed and nothing else; `fields` are known as well."""
    none = Unavailable(unavailable="not asked for")
    figures = dict.fromkeys(("delegation", "parity", "load_ms", "first_inference_ms", "latency_ms", "peak_rss_mb"), none)
    known = {"bytes": 1, "sha256": "", "export_seconds": 0.0, "score": {"val": none, "holdout": none}, "outputs": none, "budgets": []}
    return ArtifactResult(format_, precision, **figures | known | {"executed_by": "own_runtime", "ok": True, "runtime": {}} | fields)


TARGET = Target.model_validate(
    {"name": "t", "description": "d", "minimum_os": "any", "artifacts": [{"format": "onnx", "precision": "fp32"}]}
)


def contents(artifacts: list[ArtifactResult], signature: Signature, images: np.ndarray, run: Path) -> Contents:
    """What a bundle of these files of a classifier is made of, without outputs."""
    return Contents(
        name="n", task="image-classification", run=run, artifacts=artifacts,
        methods={a.name: of_file(signature, a).forward for a in artifacts},
        model=ModelFacts(name="n", state_sha256="", output_scale={"logits": 1.0}), signature=signature, preprocessing=Preprocessing(),
        golden={a.name: Sampled({"image": images}, None) for a in artifacts}, scales={}, versions={},
        ship=ship(artifacts, Metric("accuracy", "accuracy")),
        licenses=Licenses(code="Apache-2.0", data=Unavailable(unavailable="no"), teacher=Unavailable(unavailable="no")),
    )  # fmt: skip
