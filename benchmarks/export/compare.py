"""One trained student through the kit and other tools, side by side: `python benchmarks/export/compare.py RUN FOLDER`, printed as Markdown.

RUN: a finished run of the kit, such as one of `students.py`; it is only read. All that quantizes after training sees the same 256 training
images. What is done is kept in FOLDER, and not done again. Olive gets an environment of its own there; ai-edge-quantizer and coremltools
are in that of the kit, whose packages ask for them. Run it with OMP_NUM_THREADS=1.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from comparison_table import table

from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed
from edgedistill.export.lower import lower
from edgedistill.export.programs import load_signature
from edgedistill.files import read_arrays, read_json, tree_bytes, write_json
from edgedistill.measure import local
from edgedistill.measure.adapters import executor
from edgedistill.measure.runner.facts import machine
from edgedistill.measure.runner.job_types import BenchSettings
from edgedistill.measure.statistics import latency_ms
from edgedistill.records import ArtifactSpec
from edgedistill.run import Run
from edgedistill.tasks.image_classification import imageset
from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION
from edgedistill.tasks.intervals import wilson
from edgedistill.verify import judge, stored

CALIBRATION, ROUNDS = 256, 3
BENCH: BenchSettings = {"warmup_s": 0.3, "max_s": 1.0, "min_samples": 50, "relative_width": 0.01}
TOOLS = Path(__file__).parent / "tools"
# Olive 0.13.0 imports requests without asking for it.
OLIVE = ("olive-ai==0.13.0", "onnxruntime==1.32.0", "onnx==1.23.2", "torch==2.13.0", "numpy==2.4.6", "requests==2.34.2")
# Its defaults; the granularity of all the other tools; and the type of activations that ONNX Runtime fuses most with on x86.
OLIVE_PASSES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("olive", "", {}),
    ("olive-channel", ", by channel", {"per_channel": True}),
    ("olive-uint8", ", by channel, uint8 activations", {"per_channel": True, "activation_type": "uint8"}),
)
FLOAT = {"onnx": "fp32", "litert": "fp32", "coreml": "fp16"}
TIMEOUT_S = 1800.0


def kept(path: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returned, in this call or in an earlier one."""
    if not path.exists():
        print(path.stem, file=sys.stderr)
        write_json(path, work())
    return read_json(path)


def timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returned, with the seconds that passed and those that its child processes computed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    found = work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found | {"seconds": time.monotonic() - started, "cpu_seconds": computed}


def tool(python: Path | str, script: str, log: Path, *arguments: object) -> dict[str, Any]:
    """What the process of a tool says of itself; its output goes to `log`. DeviceFailed with its last line where it fails."""
    result = log.with_suffix(".tool.json")
    command = [str(python), str(TOOLS / f"{script}.py"), *map(str, arguments[:3]), str(result), *map(str, arguments[3:])]
    environment = os.environ | {"OLIVE_DISABLE_TELEMETRY": "1"}
    with open(log, "wb") as handle:
        code = subprocess.run(command, stdout=handle, stderr=handle, env=environment, timeout=TIMEOUT_S, check=False).returncode
    if code != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
        raise DeviceFailed(f"{script} ended with exit status {code}: {lines[-1][:200]}")
    return read_json(result)


def olive_python(folder: Path) -> Path:
    """The interpreter of an environment with Olive, made where it is missing."""
    python = folder / "olive" / "bin" / "python"
    if not (folder / "olive" / "finished").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "olive"], check=True)
        with open(folder / "olive.log", "wb") as log:
            subprocess.run([python, "-m", "pip", "install", *OLIVE], stdout=log, stderr=log, check=True)
        (folder / "olive" / "finished").touch()
    return python


def lowered(name: str, kind: str, precision: str, run: Path, folder: Path) -> dict[str, Any]:
    """One artifact of the kit in a process of its own."""
    spec = ArtifactSpec(kind, precision)
    (folder / name).mkdir(exist_ok=True)
    done = lower([spec], run, folder / name, folder / f"{name}.log", {"model": "student"})
    return {"path": str(folder / name / spec.name), "peak_rss_mb": done.peak_rss_mb}


def exports(run: Path, folder: Path) -> list[dict[str, Any]]:
    """Every artifact: {"name", "tool", "format", "path", "steps"}, where a step has seconds, cpu_seconds, peak_rss_mb; or "error"."""
    logs = folder / "exports"
    logs.mkdir(parents=True, exist_ok=True)
    calibration = {name: folder / f"calibration-{name}.npy" for name in ("uint8", "float32")}
    images = imageset.load(run / "work" / "data")
    # Drawn, since a data set may be sorted by class: the first images of MNIST's are all of one digit.
    drawn = np.random.default_rng(0).permutation(images.indices["train"])[:CALIBRATION]
    shown = images.images[np.sort(drawn)]
    np.save(calibration["uint8"], shown)
    np.save(calibration["float32"], shown.astype(np.float32) / np.float32(255))

    def step(name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return kept(logs / f"{name}.json", lambda: timed(work))
        except (DeviceFailed, OSError, subprocess.SubprocessError) as error:
            return {"error": str(error)}

    def kit(name: str, kind: str, precision: str, source: Path) -> dict[str, Any]:
        return step(name, lambda: lowered(name, kind, precision, source, logs))

    rows: list[dict[str, Any]] = []

    def row(name: str, tool: str, kind: str, *steps: dict[str, Any], path: Path | None = None) -> None:
        errors = [s["error"] for s in steps if "error" in s]
        made = {"error": errors[0]} if errors else {"path": str(path or steps[-1]["path"]), "steps": list(steps)}
        rows.append({"name": name, "tool": tool, "format": kind} | made)

    floats = {kind: kit(f"float-{kind}", kind, FLOAT[kind], run / "work") for kind in FLOAT}
    for kind, precision in FLOAT.items():
        row(f"float-{kind}", f"{precision}, this kit", kind, floats[kind])
    state = step(
        "kit-ptq", lambda: tool(sys.executable, "kit_ptq", logs / "kit-ptq.log", run, calibration["uint8"], logs / "ptq" / "programs")
    )
    for kind in FLOAT:
        row(f"ptq-{kind}", "int8, this kit, after training", kind, state, kit(f"ptq-{kind}", kind, "int8", logs / "ptq"))
        row(f"qat-{kind}", "int8, this kit, quantization-aware", kind, kit(f"qat-{kind}", kind, "int8", run / "work"))

    def other(title: str, kind: str, name: str, script: str, source: str, *options: str) -> None:
        out = logs / f"{name}{backend(kind).suffix}"
        arguments = (source, calibration["float32"], out, *options)
        python = olive_python(folder) if kind == "onnx" else sys.executable
        done = step(name, lambda: tool(python, script, logs / f"{name}.log", *arguments))
        # coremltools converts the student itself.
        row(name, title, kind, *([] if kind == "coreml" else [floats[kind]]), done, path=out)

    onnx, tflite = (floats[kind].get("path", "") for kind in ("onnx", "litert"))
    other("int8, ai-edge-quantizer", "litert", "ai-edge", "ai_edge_ptq", tflite)
    program = str(run / "work" / "programs" / "student-float.pt2")
    for counted, title in (("last", "int8, coremltools"), ("all", "int8, coremltools, ranges of all images")):
        other(title, "coreml", f"coremltools-{counted}", "coremltools_ptq", program, counted)
    for name, title, options in OLIVE_PASSES:
        other(f"int8, Olive{title}", "onnx", name, "olive_ptq", onnx, json.dumps(options))
    return rows


def adapter(row: dict[str, Any]) -> str:
    # coremltools computes in float16 around its int8 tensors, the kit's int8 package in float32.
    float16 = row["format"] == "coreml" and "int8, this kit" not in row["tool"]
    return executor(row["format"], float16=float16).module


def judged(row: dict[str, Any], name: str, run: Path, folder: Path, labels: np.ndarray) -> dict[str, Any]:
    """Accuracy on val, with flips and the difference against the student in PyTorch."""
    done = local.execute(
        adapter(row),
        Path(row["path"]),
        run / stored.SAMPLES["val"],
        signature=load_signature(run / "work" / "programs" / "student-float.pt2").forward,
        outputs=folder / "val" / name,
        threads=1,
        bench=None,
        log=folder / "val" / f"{name}.log",
        timeout_s=TIMEOUT_S,
    )
    outputs, student, task = read_arrays(folder / "val" / name), stored.outputs(Run(run), "student", "val"), IMAGE_CLASSIFICATION
    assert student is not None
    right, before = (task.score(given, {"logits": labels}) for given in (outputs, student))
    difference, *interval = task.paired(right, before)
    against = {
        "difference": difference, "interval": interval, "flips": judge.flips(outputs, student, task.decide), "n": len(labels),
    }  # fmt: skip
    return {
        "accuracy": float(right.mean()), "interval": wilson(int(right.sum()), len(labels)), "against": against, "versions": done.versions,
    }  # fmt: skip


def round_of(row: dict[str, Any], name: str, run: Path, folder: Path) -> dict[str, Any]:
    """The latency of an artifact in one round, ms."""
    done = local.execute(
        adapter(row),
        Path(row["path"]),
        run / stored.SAMPLES["val"],
        signature=load_signature(run / "work" / "programs" / "student-float.pt2").forward,
        outputs=None,
        threads=1,
        bench=BENCH,
        log=folder / "bench" / f"{name}.log",
        timeout_s=TIMEOUT_S,
    )
    return latency_ms(done.raw_durations_ns).model_dump(mode="json")


def measure(rows: list[dict[str, Any]], run: Path, folder: Path) -> None:
    """Give each row its bytes, val and latency, in place; a failure is kept in its place."""
    images = imageset.load(run / "work" / "data")
    labels = images.labels[images.indices["val"]]
    for row in rows:
        row["latency"] = []
        if "error" in row:
            continue
        row["bytes"] = tree_bytes(Path(row["path"]))
        try:
            row["val"] = kept(folder / "val" / f"{row['name']}.json", partial(judged, row, row["name"], run, folder, labels))
        except DeviceFailed as error:
            row["val"] = {"unavailable": str(error)}
    # Each round runs every file once, so that what else the machine does meets them alike.
    for number in range(ROUNDS):
        for row in rows:
            if "error" in row or row["format"] == "coreml":
                continue
            try:
                made = kept(folder / "bench" / f"{row['name']}-{number}.json", partial(round_of, row, row["name"], run, folder))
                row["latency"].append(made)
            except DeviceFailed as error:
                row["latency_error"] = str(error)


def main(run_folder: str, work_folder: str) -> None:
    """Do what is missing, and print the table."""
    run, folder = Path(run_folder).resolve(), Path(work_folder).resolve()
    for name in ("val", "bench"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = exports(run, folder)
    measure(rows, run, folder)
    write_json(folder / "rows.json", json.loads(json.dumps(rows)))
    print(table(rows, machine(), read_json(run / "work" / "records" / "qat.json")["seconds"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
