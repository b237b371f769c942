"""The ladder: the same split scored at each rung, from the teacher to the artifacts, and what the teacher added."""

from collections.abc import Collection, Iterable

from edgedistill.recipe.precisions import needs_program, program_of
from edgedistill.recipe.schema import Recipe
from edgedistill.records import ArtifactResult
from edgedistill.records.summary import Rung, Verdict
from edgedistill.report.records import accuracy_of, correct, labels_of, outputs_of, probabilities
from edgedistill.run import Run
from edgedistill.tasks.image_classification.calibration_error import calibration_error
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.recipe.teachers import FileTeacher
from edgedistill.verify import intervals, judge

_RUNGS = ("teacher", "control", "student", "fake_quant", "converted", "integer")


def ladder_of(run: Run, recipe: Recipe, artifacts: Iterable[ArtifactResult], images: ImageSet) -> list[Rung]:
    """One row a rung, from the teacher to the artifacts of the student."""
    rows = _in_torch(run, recipe, artifacts, images)
    made = {a.name: a for a in artifacts if a.role == "student"}
    for a in made.values():
        executed = {"precision": a.precision, "executed_by": a.executed_by, "accuracy": a.accuracy, "format": a.format}
        rows.append(Rung(rung=a.name, model=recipe.student.label, delegate=a.delegate, **executed))
    scores = {row.rung: row.accuracy.val.value for row in rows}
    labels = labels_of(images, "val")
    for row in rows:
        before = judge.reference(made[row.rung]) if row.rung in made else _rung_before(row.rung, scores)
        value, compared = scores[row.rung], scores.get(before) if before else None
        row.drop_from = before
        row.drop = None if value is None or compared is None else 100 * (compared - value)
        logits = outputs_of(run, row.rung, "val")
        row.ece = None if logits is None or labels is None else calibration_error(probabilities(logits), labels)["ece"]
    return rows


def _in_torch(run: Run, recipe: Recipe, artifacts: Iterable[ArtifactResult], images: ImageSet) -> list[Rung]:
    """The rungs that PyTorch runs, with those that artifacts of post-training precisions are held to."""
    precision = {"fake_quant": "int8 simulated", "converted": "int8", "integer": "int8"}
    ran = {"teacher": _teachers_ran(recipe), "converted": "pytorch_float64", "integer": "pytorch_integer"}
    variants = dict.fromkeys(judge.reference(a) for a in artifacts if needs_program(a.precision))
    precision |= {rung: program_of(rung) for rung in variants}
    ran |= {rung: ran[kind] for rung in variants for kind in ("converted", "integer") if rung.endswith(f"-{kind}")}
    rows = []
    for rung in (*_RUNGS, *variants):
        if outputs_of(run, rung, "val") is not None:
            model = recipe.teacher.label if rung == "teacher" and recipe.teacher else recipe.student.label
            executed = {"precision": precision.get(rung, "fp32"), "executed_by": ran.get(rung, "pytorch")}
            rows.append(Rung(rung=rung, model=model, accuracy=accuracy_of(run, rung, images), **executed))
    return rows


def _rung_before(rung: str, rungs: Collection[str]) -> str | None:
    """What a rung is made from, and so compared with; a post-training program is made from the student."""
    chain = {"teacher": None, "control": None, "student": "teacher" if "teacher" in rungs else None, "fake_quant": "student"}
    # Without training in int8 the state is made of the student itself.
    chain["converted"] = "fake_quant" if "fake_quant" in rungs else "student"
    chain["integer"] = "converted"
    return chain.get(rung, "student")


def _teachers_ran(recipe: Recipe) -> str:
    """What executed the teachers: PyTorch, or the runtimes of those that are files."""
    kinds = ["own_runtime" if isinstance(member, FileTeacher) else "pytorch" for member in recipe.members]
    return " and ".join(dict.fromkeys(kinds))


def verdict_of(run: Run, images: ImageSet) -> Verdict:
    """Whether the teacher helped: the student against the control, with the 95% interval of the difference."""
    if run.result("qat") is None:
        text = "No verdict: nothing was distilled; the model was quantized after its training."
        return Verdict(outcome="unavailable", text=text)
    student, control = outputs_of(run, "student", "val"), outputs_of(run, "control", "val")
    labels = labels_of(images, "val")
    if student is None or control is None or labels is None:
        text = "No verdict: the recipe trains no control, so nothing tells what the teacher added (distill.control: true)."
        return Verdict(outcome="unavailable", text=text)
    return Verdict.model_validate(intervals.verdict(correct(student, labels), correct(control, labels)))
