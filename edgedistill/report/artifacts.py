"""Everything known of one artifact: what it is, whether it is proven, how accurate and how fast it is."""

from typing import Any

import numpy as np

from edgedistill.backends import arithmetic, backend
from edgedistill.measure.statistics import unavailable
from edgedistill.recipe.inputs import DEFAULT
from edgedistill.recipe.precisions import is_dynamic, is_static, is_wide, needs_program
from edgedistill.report import delegation
from edgedistill.report.records import accuracy_of, outputs_of
from edgedistill.report.twins import compare
from edgedistill.run import Run
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.verify import parity

_NOT_HERE = "no runtime of {} is on this machine, which executes the program op by op to prove it"
_NOT_RUN = "not measured; run `edgedistill bench`"


def artifact(state: Run, lowered: dict[str, Any], images: ImageSet) -> dict[str, Any]:
    """Everything known of one artifact: what it is, whether it is proven, how accurate and how fast it is."""
    name, delegate = lowered["name"], lowered.get("delegate")
    facts = backend(lowered["format"])
    ran, benched = state.result(f"val-{name}"), state.result(f"bench-{name}")
    record = {key: lowered[key] for key in ("name", "role", "format", "precision", "bytes", "sha256")}
    record |= {
        # A record of an older version has none.
        "input": lowered.get("input", DEFAULT),
        "delegate": delegate,
        "path": f"artifacts/{name}",
        "export_seconds": lowered["seconds"],
        "packages": lowered.get("packages", {}),
        "accuracy": accuracy_of(state, name, images),
        **delegation.judged(state, name),
    }
    executor = facts.executor(float16=not is_static(lowered["precision"]), delegate=delegate)
    record |= {"executed_by": executor.executed_by if executor else "own_runtime", "ok": None, "runtime": {}}
    if ran is not None and "unavailable" in ran:
        record |= {"executed_by": "unavailable", "parity": unavailable(ran["unavailable"])}
    elif ran is None or "error" in ran:
        why = "not verified; run `edgedistill verify`" if ran is None else ran["error"]
        record |= {"executed_by": "unavailable", "ok": None if ran is None else False, "parity": unavailable(why)}
    else:
        record["runtime"] = ran["versions"]
        if "macos" in ran["versions"]:
            # The system's own runtime was there.
            record["executed_by"] = "own_runtime"
        record["parity"] = proof(state, lowered)
        record["ok"] = record["parity"]["ok"]
    if record["ok"] is False and (found := state.result(f"divergence-{name}")) is not None:
        record["divergence"] = found
    if benched is None or "error" in benched:
        missing = unavailable(
            facts.delegates[delegate].needs
            if delegate
            else _NOT_HERE.format(facts.title)
            if not facts.measured_here
            else _NOT_RUN
            if benched is None
            else benched["error"]
        )
        return record | dict.fromkeys(("latency_ms", "load_ms", "first_inference_ms", "peak_rss_mb"), missing)
    figures = {key: benched[key] for key in ("load_ms", "first_inference_ms", "latency_ms", "peak_rss_mb", "peak_rss_source", "steady")}
    return record | figures | {"latency_interval_ms": benched["median_interval_ms"], "threads": benched["threads"]}


def proof(state: Run, lowered: dict[str, Any]) -> dict[str, Any]:
    """An artifact that ran on val against its reference, by the rule of its precision; `ok` is None without outputs to compare."""
    outputs = outputs_of(state, lowered["name"], "val")
    rung = reference(lowered)
    expected = outputs_of(state, rung, "val")
    if outputs is None or expected is None:
        return unavailable(f"no outputs of {rung} to compare with") | {"ok": None}
    if not is_static(lowered["precision"]):
        computed = lowered["precision"] if lowered["precision"] in parity.FLOAT_LIMITS else backend(lowered["format"]).twin
        limit = parity.FLOAT_LIMITS[computed]
        if is_dynamic(lowered["precision"]):
            limit = parity.DYNAMIC_LIMIT
        elif is_wide(lowered["precision"]):
            limit = parity.INT16_LIMIT
        return {"reference": rung, **parity.float_parity(outputs, expected, relative_limit=limit)}
    made = f"program-{lowered['precision']}" if needs_program(lowered["precision"]) else "programs"
    scale = state.result(made)["output_scale"]["logits"]
    return {"reference": rung, **parity.quantized_parity(outputs, expected, scale)}


def reference(artifact: dict[str, Any]) -> str:
    """The rung that an artifact is held to.

    int8: by the arithmetic of its format, integer kernels or floating point. Post-training precisions: their own program, likewise where
    it is int8, with activations rounded by row or by tensor, as the runtime does, where they are dynamic.
    """
    format_, precision = artifact["format"], artifact["precision"]
    if is_static(precision):
        rung = "integer" if arithmetic(format_, artifact.get("delegate")).integer_kernels else "converted"
        return f"{precision}-{rung}" if needs_program(precision) else rung
    if needs_program(precision):
        return f"{precision}-tensors" if is_dynamic(precision) and backend(format_).dynamic_by_tensor else precision
    return str(artifact.get("role", "student"))


def pairs(state: Run, artifacts: list[dict[str, Any]], labels: np.ndarray | None) -> list[dict[str, Any]]:
    """Every two int8 artifacts of `artifacts` against each other on val."""
    names = [a["name"] for a in artifacts if a["precision"] == "int8"]
    outputs = {name: found for name in names if (found := outputs_of(state, name, "val")) is not None}
    if len(outputs) < 2:
        return []
    compared = parity.pairs(outputs, state.result("programs")["output_scale"]["logits"])
    return [pair | compare(outputs[pair["a"]], outputs[pair["b"]], labels) for pair in compared]
