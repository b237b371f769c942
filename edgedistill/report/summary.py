"""The summary of a run: every figure of the report and of `--json`, read from the records of its steps."""

import time
from typing import Any

import numpy as np

from edgedistill.backends import formats
from edgedistill.files import read_json
from edgedistill.measure.statistics import unavailable
from edgedistill.recipe.schema import Recipe
from edgedistill.report import delegation, divergence, ranges, sensitivity
from edgedistill.report.artifacts import artifact, pairs
from edgedistill.report.ladder import ladder_of, verdict_of
from edgedistill.report.records import NO_LABELS, labels_of, lowered_artifacts, measured, outputs_of, probabilities
from edgedistill.report.twins import add_twins, warnings
from edgedistill.run import Run
from edgedistill.tasks.data import spread
from edgedistill.tasks.image_classification import imageset
from edgedistill.tasks.image_classification.calibration_error import calibration_error
from edgedistill.tasks.image_classification.imageset import ImageSet

SCHEMA = "edgedistill/summary/1"


def summarize(state: Run, environment: dict[str, Any]) -> dict[str, Any]:
    """The summary of what `state` has by now; see docs/cli.md for the document."""
    recipe = read_json(state.path("recipe.json"))
    valid = Recipe.model_validate(recipe["effective"])
    images = imageset.load(state.work("data"))
    artifacts = [artifact(state, a, images) for a in lowered_artifacts(state)]
    labels = labels_of(images, "val")
    add_twins(artifacts, lambda name: outputs_of(state, name, "val"), labels)
    compared = pairs(state, artifacts, labels)
    failed = divergence.failed(artifacts) + [f"{p['a']} and {p['b']}" for p in compared if not p["ok"]]
    failed += delegation.broken(artifacts)
    ladder = ladder_of(state, valid, artifacts, images)
    programs = state.result("programs")
    shipped = next((r["rung"] for r in ladder if r["precision"] == "int8" and r["rung"] != "fake_quant"), "student")
    return {
        "schema": SCHEMA,
        "name": recipe["effective"]["name"],
        "status": status_of(artifacts, compared),
        "failed": failed,
        "warnings": warnings(artifacts),
        "run": str(state.folder),
        "command": recipe["command"],
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": _seconds(state),
        "environment": environment,
        "recipe": {key: recipe[key] for key in ("path", "sha256", "effective_sha256", "effective")},
        "data": state.result("data"),
        "ladder": ladder,
        "verdict": verdict_of(state, images),
        "teacher": _teacher(state, valid, ladder, artifacts),
        "artifacts": artifacts,
        "pairs": compared,
        "ranges": ranges.recorded(state, lowered_artifacts(state)),
        "curves": _curves(state, valid),
        "state": {key: value for key, value in programs.items() if key != "sensitivity"} if programs else None,
        "sensitivity": sensitivity.priced((programs or {}).get("sensitivity"), artifacts),
        "lowering": _lowering(state),
        **_quality(state, shipped, images),
        "devices": measured(state, artifacts),
        "bundles": {},
        "report": str(state.path("report.html")),
    }


def status_of(artifacts: list[dict[str, Any]], compared: list[dict[str, Any]]) -> str:
    """ok, runtime_failed when an artifact could not be run, or check_failed when a comparison or a budget did not hold."""
    if any(a["ok"] is False and a["executed_by"] == "unavailable" for a in artifacts):
        return "runtime_failed"
    budgets = [budget for a in artifacts for budget in a["budgets"]]
    return "check_failed" if any(item["ok"] is False for item in (*artifacts, *compared, *budgets)) else "ok"


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
    logits, labels, count = outputs_of(state, rung, "val"), labels_of(images, "val"), len(images.classes)
    if logits is None or labels is None:
        missing = unavailable(f"{rung} was not scored on val" if logits is None else NO_LABELS)
        return {"confusion": missing, "reliability": missing}
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (labels, logits.argmax(axis=1)), 1)
    reliability = calibration_error(probabilities(logits), labels)
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
    for name in formats():
        if (done := state.result(f"export-{name}")) is not None:
            files = [f"{a['name']} {a['seconds']:.1f} s" for a in done["artifacts"]]
            found[name] = {"seconds": state.seconds(f"export-{name}"), "peak_rss_mb": done["peak_rss_mb"], "files": files}
    return found


def golden(state: Run, artifacts: list[dict[str, Any]], count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """At most `count` val images, float32 [G, 3, S, S], and what each artifact answered to them, float32 [G, classes]."""
    images = np.load(state.work("programs", "val.npy"), mmap_mode="r")
    places = spread(len(images), count)
    found = {a["name"]: outputs_of(state, a["name"], "val") for a in artifacts}
    return np.array(images[places]), {name: logits[places] for name, logits in found.items() if logits is not None}
