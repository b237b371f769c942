"""The task tensors: any module from named arrays to named arrays. It has no targets: outputs are held to those of another module.

Free of torch; what computes is imported late.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from edgedistill.recipe.base import Config, mistake
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.base import Arrays, Metric, RecipeParts, Starter, Task
from edgedistill.tasks.data import DataFacts
from edgedistill.tasks.shadowed import Shadow, Similarity

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.arrays import ArrayDataset
    from edgedistill.tasks.model_file import ModelFile
    from edgedistill.tasks.tensors.dataset import ArraySource
    from edgedistill.tasks.tensors.recipe import Student


class ArrayFacts(DataFacts):
    """What is known of the arrays of a run."""

    inputs: tuple[TensorSpec, ...] = Field(description="The inputs of the module, in their order.")

    def described(self) -> list[str]:
        """The inputs."""
        return [str(spec) for spec in self.inputs]


class Tensors(Task):
    """Inputs are the arrays of an .npz; outputs are what the student gives. A student is taught by another module, or comes trained."""

    name = "tensors"
    title = "Any module"
    metric = Metric(
        "fit", "fit to the teacher", better="closer to the teacher", worse="farther from the teacher",
        described="1 less the root mean square error of a sample, as a share of the range of the output; averaged over outputs.",
    )  # fmt: skip
    scores_against_teacher = True
    facts = ArrayFacts

    def parts(self) -> RecipeParts:
        """An .npz, modules that functions make, and regression of outputs and features."""
        from edgedistill.tasks.tensors.recipe import Data, Student, Teacher, TensorLosses

        stages = [{"name": "align", "losses": {"mse": {}}}, {"name": "qat", "losses": {"mse": {}}}]
        # Nothing but a teacher says what is right, so nothing can be trained without one.
        return RecipeParts(Data, Student, Teacher, TensorLosses, {"stages": stages, "distill": {"control": False, "calibrate": False}})

    def starter(self) -> Starter:
        """A recipe for an .npz and two functions."""
        from edgedistill.tasks.tensors.starter import ARRAYS

        return ARRAYS

    def check(self, recipe: Recipe) -> None:
        """Without targets there is no control, and no temperature to fit."""
        if recipe.distill is not None and (wrong := [name for name in ("control", "calibrate") if getattr(recipe.distill, name)]):
            raise mistake(f"{' and '.join(f'{name}: false' for name in wrong)}, since the samples have no targets", "found true in distill")

    def source(self, recipe: Recipe) -> ArraySource:
        """The .npz."""
        from edgedistill.tasks.tensors.dataset import ArraySource
        from edgedistill.tasks.tensors.recipe import Data

        assert isinstance(recipe.data, Data)
        return ArraySource(recipe.data)

    def dataset(self, recipe: Recipe, folder: Path) -> ArrayDataset:
        """The arrays that were written into the run, without targets."""
        from edgedistill.tasks.arrays import ArrayDataset

        facts = ArrayFacts.read(folder)
        return ArrayDataset(folder, facts, [spec.name for spec in facts.inputs])

    def signature(self, recipe: Recipe, facts: DataFacts) -> Signature:
        """The inputs of the data, and the outputs that the student gives for them."""
        from edgedistill.tasks.tensors.modules import signature

        return signature(_student(recipe), _facts(facts))

    def build(self, config: Config, recipe: Recipe, facts: DataFacts, weights: Path | None = None) -> nn.Module:
        """The module with its outputs in the order of the student's."""
        from edgedistill.tasks.tensors.modules import build
        from edgedistill.tasks.tensors.recipe import Student, Teacher

        assert isinstance(config, (Student, Teacher))
        return build(config, _student(recipe), recipe.seed, _facts(facts), weights)

    def core(self, module: nn.Module) -> nn.Module:
        """The user's module."""
        return module.model  # type: ignore[return-value]

    def batched(self, recipe: Recipe) -> bool:
        """A module that is trained takes several samples at once; one that comes trained may take one alone."""
        return recipe.distill is not None

    def score(self, outputs: Arrays, targets: Arrays) -> np.ndarray:
        """How close each sample's outputs are to the teacher's, float [n]; see `metric`. Integers and booleans are equal or not."""
        import numpy as np

        return np.mean([_fit(outputs[name], expected) for name, expected in targets.items()], axis=0)

    def trace(self, row: Mapping[str, JsonValue], folder: Path) -> tuple[JsonValue, JsonValue]:
        """`inputs` and the teacher's `outputs`."""
        from edgedistill.tasks.tensors.shadow import arrays_of

        return arrays_of(row, "inputs", folder), arrays_of(row, "outputs", folder)

    def shadow(self, file: ModelFile, comparison: Mapping[str, Any], threads: int, similarity: Similarity | None) -> Shadow:
        """Computes outputs."""
        from edgedistill.tasks.tensors.shadow import shadow

        return shadow(file, self.score, comparison["least"], threads)


def _fit(output: np.ndarray, expected: np.ndarray) -> np.ndarray:
    import numpy as np

    rows = (len(expected), -1)
    if expected.dtype.kind != "f":
        return (output == expected).reshape(rows).mean(axis=1)
    span = float(np.ptp(expected)) or float(np.abs(expected).max()) or 1.0
    error = np.square(output.astype(np.float64) - expected).reshape(rows).mean(axis=1)
    return 1 - np.sqrt(error) / span


def _facts(facts: DataFacts) -> ArrayFacts:
    assert isinstance(facts, ArrayFacts)
    return facts


def _student(recipe: Recipe) -> Student:
    from edgedistill.tasks.tensors.recipe import Student

    assert isinstance(recipe.student, Student)
    return recipe.student


TENSORS = Tensors()
