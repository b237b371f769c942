"""The ladder: the same split scored at each rung, from the teacher to the artifacts, and what the teacher added."""

from collections.abc import Collection, Iterable

from edgedistill.recipe.precisions import has_four_bits, needs_program, program_of
from edgedistill.recipe.schema import Recipe
from edgedistill.records import ArtifactResult
from edgedistill.records.summary import Rung
from edgedistill.verify import judge
from edgedistill.verify.scoring import Scorer

_RUNGS = ("teacher", "control", "student", "fake_quant", "converted", "integer")


def ladder_of(recipe: Recipe, artifacts: Iterable[ArtifactResult], scorer: Scorer) -> list[Rung]:
    """One row a rung, from the teacher to the artifacts of the student."""
    rows = _in_torch(recipe, artifacts, scorer)
    made = {a.name: a for a in artifacts if a.role == "student"}
    for a in made.values():
        executed = {"precision": a.precision, "executed_by": a.executed_by, "score": a.score, "format": a.format}
        rows.append(Rung(rung=a.name, model=recipe.student.label, delegate=a.delegate, **executed))
    scores = {row.rung: row.score.val.value for row in rows}
    for row in rows:
        before = judge.reference(made[row.rung]) if row.rung in made else _rung_before(row.rung, scores, _trained_for(recipe))
        value, compared = scores[row.rung], scores.get(before) if before else None
        row.drop_from = before
        row.drop = None if value is None or compared is None else 100 * (compared - value)
        row.further = scorer.further(row.rung)
        row.sets = scorer.by_set(row.rung)
    return rows


def _in_torch(recipe: Recipe, artifacts: Iterable[ArtifactResult], scorer: Scorer) -> list[Rung]:
    """The rungs that PyTorch runs, with those that artifacts of post-training precisions are held to."""
    precision = {"fake_quant": f"{_trained_for(recipe)} simulated", "converted": "int8", "integer": "int8"}
    ran = {"teacher": _teachers_ran(recipe), "converted": "pytorch_float64", "integer": "pytorch_integer"}
    variants = dict.fromkeys(judge.reference(a) for a in artifacts if needs_program(a.precision))
    precision |= {rung: program_of(rung) for rung in variants}
    ran |= {rung: ran[kind] for rung in variants for kind in ("converted", "integer") if rung.endswith(f"-{kind}")}
    rows = []
    for rung in (*_RUNGS, *variants):
        if scorer.outputs(rung) is not None:
            model = recipe.teacher.label if rung == "teacher" and recipe.teacher else recipe.student.label
            executed = {"precision": precision.get(rung, "fp32"), "executed_by": ran.get(rung, "pytorch")}
            rows.append(Rung(rung=rung, model=model, score=scorer.score(rung), **executed))
    return rows


def _trained_for(recipe: Recipe) -> str | None:
    """The precision of the stage qat; None without one."""
    return recipe.distill.qat.precision if recipe.distill and recipe.distill.qat else None


def _rung_before(rung: str, rungs: Collection[str], trained_for: str | None) -> str | None:
    """What a rung is made from, and so compared with; a post-training program is made from the student, or by the stage qat."""
    chain = {"teacher": None, "control": None, "student": "teacher" if "teacher" in rungs else None, "fake_quant": "student"}
    # Without training in int8 the state is made of the student itself.
    chain["converted"] = "fake_quant" if trained_for == "int8" else "student"
    chain["integer"] = "converted"
    four_bits = has_four_bits(program_of(rung)) and trained_for is not None and has_four_bits(trained_for)
    return chain.get(rung, "fake_quant" if four_bits else "student")


def _teachers_ran(recipe: Recipe) -> str:
    """What executed the teachers: PyTorch, or the runtimes of those that are files."""
    kinds = ["own_runtime" if member.is_file else "pytorch" for member in recipe.members]
    return " and ".join(dict.fromkeys(kinds))
