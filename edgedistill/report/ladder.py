"""The ladder: the same split scored at each rung, from the teacher to the artifacts, and what the teacher added."""

from collections.abc import Collection
from typing import Any

from edgedistill.recipe.precisions import needs_program, program_of
from edgedistill.recipe.schema import Recipe
from edgedistill.report.artifacts import reference
from edgedistill.report.records import accuracy_of, correct, labels_of, outputs_of, probabilities
from edgedistill.run import Run
from edgedistill.tasks.image_classification.calibration_error import calibration_error
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.recipe.teachers import FileTeacher
from edgedistill.verify import intervals

_RUNGS = ("teacher", "control", "student", "fake_quant", "converted", "integer")


def ladder_of(state: Run, recipe: Recipe, artifacts: list[dict[str, Any]], images: ImageSet) -> list[dict[str, Any]]:
    """One row a rung: rung, model, precision, executed_by, accuracy, drop from the rung that it was made from (points), and ECE."""
    rows: list[dict[str, Any]] = []
    precision = {"fake_quant": "int8 simulated", "converted": "int8", "integer": "int8"}
    ran = {"teacher": _teachers_ran(recipe), "converted": "pytorch_float64", "integer": "pytorch_integer"}
    variants = dict.fromkeys(reference(a) for a in artifacts if needs_program(a["precision"]))
    precision |= {rung: program_of(rung) for rung in variants}
    ran |= {rung: ran[kind] for rung in variants for kind in ("converted", "integer") if rung.endswith(f"-{kind}")}
    for rung in (*_RUNGS, *variants):
        if outputs_of(state, rung, "val") is not None:
            model = recipe.teacher.label if rung == "teacher" and recipe.teacher else recipe.student.label
            row: dict[str, Any] = {
                "rung": rung,
                "model": model,
                "precision": precision.get(rung, "fp32"),
                "executed_by": ran.get(rung, "pytorch"),
            }
            rows.append(row | {"accuracy": accuracy_of(state, rung, images)})
    for a in artifacts:
        if a["role"] == "student":
            row = {key: a[key] for key in ("precision", "executed_by", "accuracy", "format", "delegate")}
            rows.append({"rung": a["name"], "model": recipe.student.label, **row})
    by_name = {row["rung"]: row["accuracy"]["val"].get("value") for row in rows}
    for row in rows:
        before = _rung_before(row, by_name)
        value, compared = by_name[row["rung"]], by_name.get(before) if before else None
        row["drop_from"] = before
        row["drop"] = None if value is None or compared is None else 100 * (compared - value)
        logits = outputs_of(state, row["rung"], "val")
        labels = labels_of(images, "val")
        row["ece"] = None if logits is None or labels is None else calibration_error(probabilities(logits), labels)["ece"]
    return rows


def _rung_before(row: dict[str, Any], rungs: Collection[str]) -> str | None:
    """What a rung is made from, and so compared with; a post-training program is made from the student, an artifact from its reference."""
    chain = {"teacher": None, "control": None, "student": "teacher" if "teacher" in rungs else None, "fake_quant": "student"}
    # Without training in int8 the state is made of the student itself.
    chain["converted"] = "fake_quant" if "fake_quant" in rungs else "student"
    chain["integer"] = "converted"
    if row["rung"] in chain:
        return chain[row["rung"]]
    return reference(row) if "format" in row else "student"


def _teachers_ran(recipe: Recipe) -> str:
    """What executed the teachers: PyTorch, or the runtimes of those that are files."""
    kinds = ["own_runtime" if isinstance(member, FileTeacher) else "pytorch" for member in recipe.members]
    return " and ".join(dict.fromkeys(kinds))


def verdict_of(state: Run, images: ImageSet) -> dict[str, Any]:
    """Whether the teacher helped: the student against the control, with the 95% interval of the difference."""
    if state.result("qat") is None:
        text = "No verdict: nothing was distilled; the model was quantized after its training."
        return {"outcome": "unavailable", "text": text}
    student, control = outputs_of(state, "student", "val"), outputs_of(state, "control", "val")
    labels = labels_of(images, "val")
    if student is None or control is None or labels is None:
        text = "No verdict: the recipe trains no control, so nothing tells what the teacher added (distill.control: true)."
        return {"outcome": "unavailable", "text": text}
    return intervals.verdict(correct(student, labels), correct(control, labels))
