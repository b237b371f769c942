"""The programs of post-training precisions: the float student with its weights on a grid, saved and scored on val."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.files import sha256_file
from edgedistill.progress import log
from edgedistill.recipe.precisions import is_dynamic, needs_program
from edgedistill.run import Run

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

    from edgedistill.export.programs import ArtifactSpec


def make(state: Run, specs: list[ArtifactSpec]) -> dict[str, Any]:
    """One step `program-PRECISION` for each precision of `specs` that needs one; returns their results by precision.

    A result: `sha256` of the program `student.pt2`, and `weights`, how many were stored by which scheme. Beside the program are the logits
    of its rungs on val, RUNG.npy float32 [N, classes]: of the program itself, or where activations are dynamic of the two ways of rounding.
    """

    def one(precision: str) -> Any:
        inputs = [precision, sha256_file(state.path("programs", "student-float.pt2"))]
        return state.step(f"program-{precision}", inputs, lambda folder: _make(state, precision, folder))

    return {precision: one(precision) for precision in dict.fromkeys(s.precision for s in specs if needs_program(s.precision))}


def _make(state: Run, precision: str, folder: Path) -> dict[str, Any]:
    import numpy as np

    from edgedistill.export.programs import save_program
    from edgedistill.quantize.grid import put_on_grid
    from edgedistill.tasks.image_classification import predict
    from edgedistill.verify.rungs import load_converted

    log(f"putting the weights of the student on the grid of {precision}")
    graph = load_converted(state.path("programs", "student-float.pt2"))
    weights = put_on_grid(graph, precision)
    images = np.load(state.path("programs", "val.npy"), mmap_mode="r")
    save_program(graph, images.shape[-1], folder / "student.pt2")
    for name, rung in _rungs(graph, precision).items():
        # The program has the batch that it is lowered for.
        np.save(folder / f"{name}.npy", predict(rung, images, batch_size=1))
    return {"sha256": sha256_file(folder / "student.pt2"), "weights": weights}


def _rungs(graph: GraphModule, precision: str) -> dict[str, nn.Module]:
    """What artifacts of `precision` are held to, by name."""
    from edgedistill.verify.dynamic import DynamicReference

    if not is_dynamic(precision):
        return {precision: graph}
    return {precision: DynamicReference(graph, tensors=False), f"{precision}-tensors": DynamicReference(graph, tensors=True)}
