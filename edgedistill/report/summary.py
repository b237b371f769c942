"""The summary of a run: every figure of the report and of `--json`, read from the records of its steps."""

import time
from collections.abc import Collection
from typing import Any

import numpy as np

from edgedistill.files import read_json
from edgedistill.measure.statistics import unavailable
from edgedistill.recipe.precisions import FLOAT, is_dynamic, needs_program
from edgedistill.recipe.schema import Recipe
from edgedistill.recipe.teachers import FileTeacher
from edgedistill.report import delegation, divergence, ranges, sensitivity
from edgedistill.report.twins import add_twins, compare
from edgedistill.run import Run
from edgedistill.teach import imageset
from edgedistill.teach.imageset import ImageSet
from edgedistill.verify import intervals, parity
from edgedistill.verify.calibration import calibration

SCHEMA = "edgedistill/summary/1"
FORMATS = ("executorch", "litert", "onnx", "coreml")
_RUNGS = ("teacher", "control", "student", "fake_quant", "converted", "integer")
_COREML_LATENCY = "Core ML runs on Apple devices only; this machine executes its program op by op to prove it"
_NO_LABELS = "the images have no labels"
_NOT_RUN = "not measured; run `edgedistill bench`"


def summarize(state: Run, environment: dict[str, Any]) -> dict[str, Any]:
    """The summary of what `state` has by now; see docs/cli.md for the document."""
    recipe = read_json(state.path("recipe.json"))
    valid = Recipe.model_validate(recipe["effective"])
    images = imageset.load(state.path("data"))
    artifacts = [artifact(state, a, images) for a in _lowered(state)]
    labels = _labels(images, "val")
    add_twins(artifacts, lambda name: _outputs(state, name, "val"), labels)
    pairs = _pairs(state, artifacts, labels)
    failed = divergence.failed(artifacts) + [f"{p['a']} and {p['b']}" for p in pairs if not p["ok"]]
    failed += delegation.broken(artifacts)
    ladder = _ladder(state, valid, artifacts, images)
    programs = state.result("programs")
    shipped = next((r["rung"] for r in ladder if r["precision"] == "int8" and r["rung"] != "fake_quant"), "student")
    return {
        "schema": SCHEMA,
        "name": recipe["effective"]["name"],
        "status": status_of(artifacts, pairs),
        "failed": failed,
        "run": str(state.folder),
        "command": recipe["command"],
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": _seconds(state),
        "environment": environment,
        "recipe": {key: recipe[key] for key in ("path", "sha256", "effective_sha256", "effective")},
        "data": state.result("data"),
        "ladder": ladder,
        "verdict": _verdict(state, images),
        "teacher": _teacher(state, valid, ladder, artifacts),
        "artifacts": artifacts,
        "pairs": pairs,
        "ranges": ranges.recorded(state, _lowered(state)),
        "curves": _curves(state, valid),
        "state": {key: value for key, value in programs.items() if key != "sensitivity"} if programs else None,
        "sensitivity": sensitivity.priced((programs or {}).get("sensitivity"), artifacts),
        "lowering": _lowering(state),
        **_quality(state, shipped, images),
        "bundles": {},
        "report": str(state.path("report.html")),
    }


def status_of(artifacts: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> str:
    """ok, runtime_failed when an artifact could not be run, or check_failed when a comparison or a budget did not hold."""
    if any(a["ok"] is False and a["executed_by"] == "unavailable" for a in artifacts):
        return "runtime_failed"
    budgets = [budget for a in artifacts for budget in a["budgets"]]
    return "check_failed" if any(item["ok"] is False for item in (*artifacts, *pairs, *budgets)) else "ok"


def _lowered(state: Run) -> list[dict[str, Any]]:
    return [a for name in FORMATS for a in (state.result(f"export-{name}") or {"artifacts": []})["artifacts"]]


def _outputs(state: Run, rung: str, split: str) -> np.ndarray | None:
    """Logits float32 [N, classes] of a rung or artifact on a split, or None where it did not run there."""
    step = f"{split}-{rung}"
    # Programs of post-training precisions are scored on val only; their artifacts on both.
    program = f"program-{rung.removesuffix('-tensors')}"
    path = state.path("holdout" if split == "holdout" else program if state.result(program) else "programs", f"{rung}.npy")
    if state.result(step) is not None:
        path = state.path(step, "outputs.npy")
    return np.load(path) if path.exists() else None


def _accuracy(state: Run, rung: str, images: ImageSet) -> dict[str, Any]:
    found = {}
    for split in ("val", "holdout"):
        logits = _outputs(state, rung, split)
        if logits is None:
            ran = state.result(f"{split}-{rung}") or {}
            why = (
                "the data has no holdout"
                if split == "holdout" and not len(images.indices["holdout"])
                else f"{rung} was not scored on {split}"
            )
            found[split] = unavailable(ran.get("error", why))
            continue
        labels = _labels(images, split)
        if labels is None:
            found[split] = unavailable(_NO_LABELS)
            continue
        right = _correct(logits, labels)
        low, high = intervals.wilson(int(right.sum()), len(right))
        found[split] = {"value": float(right.mean()), "correct": int(right.sum()), "n": len(right), "interval": [low, high]}
    return found


def _correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return logits.argmax(axis=1) == labels


def artifact(state: Run, lowered: dict[str, Any], images: ImageSet) -> dict[str, Any]:
    """Everything known of one artifact: what it is, whether it is proven, how accurate and how fast it is."""
    name, coreml = lowered["name"], lowered["format"] == "coreml"
    ran, benched = state.result(f"val-{name}"), state.result(f"bench-{name}")
    record = {key: lowered[key] for key in ("name", "role", "format", "precision", "bytes", "sha256")}
    record |= {
        "path": f"export-{lowered['format']}/{name}",
        "export_seconds": lowered["seconds"],
        "accuracy": _accuracy(state, name, images),
        **delegation.judged(state, name),
    }
    executor = "mil_float64" if lowered["precision"] == "int8" else "mil_float16"
    record |= {"executed_by": executor if coreml else "own_runtime", "ok": None, "runtime": {}}
    if ran is None or "error" in ran:
        why = "not verified; run `edgedistill verify`" if ran is None else ran["error"]
        record |= {"executed_by": "unavailable", "ok": None if ran is None else False, "parity": unavailable(why)}
    else:
        record["runtime"] = ran["versions"]
        record["parity"] = _parity(state, lowered)
        record["ok"] = record["parity"]["ok"]
    if record["ok"] is False and (found := state.result(f"divergence-{name}")) is not None:
        record["divergence"] = found
    if benched is None or "error" in benched:
        missing = unavailable(_COREML_LATENCY if coreml else _NOT_RUN if benched is None else benched["error"])
        return record | dict.fromkeys(("latency_ms", "load_ms", "first_inference_ms", "peak_rss_mb"), missing)
    figures = {key: benched[key] for key in ("load_ms", "first_inference_ms", "latency_ms", "peak_rss_mb", "peak_rss_source", "steady")}
    return record | figures | {"latency_interval_ms": benched["median_interval_ms"], "threads": benched["threads"]}


def _parity(state: Run, lowered: dict[str, Any]) -> dict[str, Any]:
    outputs = _outputs(state, lowered["name"], "val")
    reference = _reference(lowered)
    expected = _outputs(state, reference, "val")
    if outputs is None or expected is None:
        return unavailable(f"no outputs of {reference} to compare with") | {"ok": None}
    if lowered["precision"] != "int8":
        dynamic = is_dynamic(lowered["precision"])
        limit = parity.DYNAMIC_LIMIT if dynamic else parity.FLOAT_LIMITS[FLOAT[lowered["format"]]]
        return {"reference": reference, **parity.float_parity(outputs, expected, relative_limit=limit)}
    scale = state.result("programs")["output_scale"]
    return {"reference": reference, **parity.quantized_parity(outputs, expected, scale)}


def _reference(artifact: dict[str, Any]) -> str:
    """The rung that an artifact is held to.

    int8: Core ML's program is run in floating point, all others by integer kernels. Post-training precisions: their own program, with
    activations rounded by row, or in ONNX by tensor, where they are dynamic.
    """
    format_, precision = artifact["format"], artifact["precision"]
    if precision == "int8":
        return "converted" if format_ == "coreml" else "integer"
    if needs_program(precision):
        return f"{precision}-tensors" if is_dynamic(precision) and format_ == "onnx" else precision
    return str(artifact.get("role", "student"))


def _pairs(state: Run, artifacts: list[dict[str, Any]], labels: np.ndarray | None) -> list[dict[str, Any]]:
    names = [a["name"] for a in artifacts if a["precision"] == "int8"]
    outputs = {name: found for name in names if (found := _outputs(state, name, "val")) is not None}
    if len(outputs) < 2:
        return []
    compared = parity.pairs(outputs, state.result("programs")["output_scale"])
    return [pair | compare(outputs[pair["a"]], outputs[pair["b"]], labels) for pair in compared]


def _teachers_ran(recipe: Recipe) -> str:
    """What executed the teachers: PyTorch, or the runtimes of those that are files."""
    kinds = ["own_runtime" if isinstance(member, FileTeacher) else "pytorch" for member in recipe.members]
    return " and ".join(dict.fromkeys(kinds))


def _ladder(state: Run, recipe: Recipe, artifacts: list[dict[str, Any]], images: ImageSet) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    precision = {"fake_quant": "int8 simulated", "converted": "int8", "integer": "int8"}
    ran = {"teacher": _teachers_ran(recipe), "converted": "pytorch_float64", "integer": "pytorch_integer"}
    variants = dict.fromkeys(_reference(a) for a in artifacts if needs_program(a["precision"]))
    precision |= {rung: rung.removesuffix("-tensors") for rung in variants}
    for rung in (*_RUNGS, *variants):
        if _outputs(state, rung, "val") is not None:
            model = recipe.teacher.label if rung == "teacher" and recipe.teacher else recipe.student.label
            row: dict[str, Any] = {
                "rung": rung,
                "model": model,
                "precision": precision.get(rung, "fp32"),
                "executed_by": ran.get(rung, "pytorch"),
            }
            rows.append(row | {"accuracy": _accuracy(state, rung, images)})
    for a in artifacts:
        if a["role"] == "student":
            row = {key: a[key] for key in ("precision", "executed_by", "accuracy", "format")}
            rows.append({"rung": a["name"], "model": recipe.student.label, **row})
    by_name = {row["rung"]: row["accuracy"]["val"].get("value") for row in rows}
    for row in rows:
        before = _rung_before(row, by_name)
        value, reference = by_name[row["rung"]], by_name.get(before) if before else None
        row["drop_from"] = before
        row["drop"] = None if value is None or reference is None else 100 * (reference - value)
        logits = _outputs(state, row["rung"], "val")
        labels = _labels(images, "val")
        row["ece"] = None if logits is None or labels is None else calibration(_probabilities(logits), labels)["ece"]
    return rows


def _rung_before(row: dict[str, Any], rungs: Collection[str]) -> str | None:
    """What a rung is made from, and so compared with; a post-training program is made from the student, an artifact from its reference."""
    chain = {"teacher": None, "control": None, "student": "teacher", "fake_quant": "student"}
    # Without training in int8 the state is made of the student itself.
    chain["converted"] = "fake_quant" if "fake_quant" in rungs else "student"
    chain["integer"] = "converted"
    if row["rung"] in chain:
        return chain[row["rung"]]
    return _reference(row) if "format" in row else "student"


def _probabilities(logits: np.ndarray) -> np.ndarray:
    from scipy import special

    return special.softmax(logits.astype(np.float64), axis=1)


def _labels(images: ImageSet, split: str) -> np.ndarray | None:
    """Labels int64 [N] of a split, or None where the images have none."""
    return images.labels[images.indices[split]] if images.classes else None


def _verdict(state: Run, images: ImageSet) -> dict[str, Any]:
    if state.result("qat") is None:
        text = "No verdict: nothing was distilled; the model was quantized after its training."
        return {"outcome": "unavailable", "text": text}
    student, control = _outputs(state, "student", "val"), _outputs(state, "control", "val")
    labels = _labels(images, "val")
    if student is None or control is None or labels is None:
        text = "No verdict: the recipe trains no control, so nothing tells what the teacher added (distill.control: true)."
        return {"outcome": "unavailable", "text": text}
    return intervals.verdict(_correct(student, labels), _correct(control, labels))


def _teacher(state: Run, recipe: Recipe, ladder: list[dict[str, Any]], artifacts: list[dict[str, Any]]) -> dict[str, Any] | None:
    if recipe.teacher is None:
        return None
    trained = [state.result(name) for name in recipe.teacher_steps]
    rung = next((row["accuracy"] for row in ladder if row["rung"] == "teacher"), None)
    measured = next((a for a in artifacts if a["role"] == "teacher"), {})
    parameters = [one["parameters"] for one in trained]
    own: dict[str, Any] = {
        "model": recipe.teacher.label,
        "parameters": unavailable("a file does not say") if None in parameters else sum(parameters),
        "bytes": sum(one["bytes"] for one in trained),
        "accuracy": rung,
    }
    return {"name": "teacher", **measured, **own, "members": _members(state, recipe)}


def _members(state: Run, recipe: Recipe) -> dict[str, Any]:
    """What was found out about the teachers, and about the set that they teach."""
    met = state.result("teaching")
    labels = {member.name: member.label for member in recipe.members}
    weights = met.get("weights") or {}
    scores = met["val_accuracy"].items()
    members = [{"name": name, "model": labels[name], "val_accuracy": value, "weight": weights.get(name)} for name, value in scores]
    return {"list": members, "disagreement": met["disagreement"], "teaching_set": state.result("teaching-set")}


def _curves(state: Run, recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    names = [*recipe.teacher_steps, "control", "student", "qat"]
    curves = {name: (state.result(name) or {"curve": []})["curve"] for name in names}
    curves["student"] = curves["student"] + curves.pop("qat")
    return {name: curve for name, curve in curves.items() if curve}


def _quality(state: Run, rung: str, images: ImageSet) -> dict[str, Any]:
    logits, labels, count = _outputs(state, rung, "val"), _labels(images, "val"), len(images.classes)
    if logits is None or labels is None:
        missing = unavailable(f"{rung} was not scored on val" if logits is None else _NO_LABELS)
        return {"confusion": missing, "reliability": missing}
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (labels, logits.argmax(axis=1)), 1)
    reliability = calibration(_probabilities(logits), labels)
    return {
        "confusion": {"rung": rung, "labels": images.classes, "matrix": matrix.tolist()},
        "reliability": {"rung": rung, **reliability},
    }


def _seconds(state: Run) -> dict[str, float]:
    parts = {
        "teach": ("data", "teacher", "teaching"),
        "distill": ("control", "student", "qat"),
        "quantize": ("programs", "program-"),
        "export": ("export-",),
        "verify": ("val-", "divergence-", "delegation-", "ranges-"),
        "measure": ("bench-",),
        "holdout": ("holdout",),
    }
    return {name: round(sum(state.seconds(prefix) for prefix in prefixes), 2) for name, prefixes in parts.items()}


def _lowering(state: Run) -> dict[str, Any]:
    """What the process of each format took, its imports included: seconds, peak memory, and each file with its own seconds."""
    found = {}
    for name in FORMATS:
        if (done := state.result(f"export-{name}")) is not None:
            files = [f"{a['name']} {a['seconds']:.1f} s" for a in done["artifacts"]]
            found[name] = {"seconds": state.seconds(f"export-{name}"), "peak_rss_mb": done["peak_rss_mb"], "files": files}
    return found


def golden(state: Run, artifacts: list[dict[str, Any]], count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """At most `count` val images, float32 [G, 3, S, S], and what each artifact answered to them, float32 [G, classes]."""
    images = np.load(state.path("programs", "val.npy"), mmap_mode="r")
    places = imageset.spread(len(images), count)
    found = {a["name"]: _outputs(state, a["name"], "val") for a in artifacts}
    return np.array(images[places]), {name: logits[places] for name, logits in found.items() if logits is not None}
