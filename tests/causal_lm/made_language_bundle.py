"""A bundle of a small language model with random weights, written as a run writes it, in a few seconds."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_documents import made_result
from made_llm import recipe

from edgedistill.backends.onnx import adapter
from edgedistill.bundle.ship import ship
from edgedistill.bundle.write import Contents, Sampled, write_bundle
from edgedistill.export.fitting import of_file
from edgedistill.export.lower import lower
from edgedistill.export.programs import save_program
from edgedistill.files import sha256_tree
from edgedistill.quantize.grid import put_on_grid
from edgedistill.recipe.targets import Target
from edgedistill.records import ArtifactSpec, Unavailable
from edgedistill.records.manifest import Licenses, ModelFacts
from edgedistill.tasks.causal_lm import trial
from edgedistill.tasks.causal_lm.task import CAUSAL_LM
from edgedistill.tasks.data import chosen
from edgedistill.verify.rungs import load_converted

FP32, INT8, INT4 = (ArtifactSpec("onnx", precision) for precision in ("fp32", "int8-dynamic", "int4-weights"))
_GOLDEN = 4


@functools.cache
def bundle() -> Path:
    """The bundle of three .onnx files with glue code in Python, and none in Kotlin; tests that change it make a copy."""
    _KEPT.append(tempfile.TemporaryDirectory(prefix="language-bundle-"))
    folder = Path(_KEPT[-1].name)
    return write(folder / "bundle", contents(folder), ["python", "kotlin"])


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
"""Until the tests end, since files of them share it."""


def write(folder: Path, made: Contents, languages: list[str]) -> Path:
    """The bundle of `made` with glue code in `languages`."""
    asked = [{"format": artifact.format, "precision": artifact.precision} for artifact in made.artifacts]
    target = {"name": "made", "description": "A test.", "minimum_os": "any", "artifacts": asked, "glue": languages}
    return write_bundle(folder, Target.model_validate(target), made)


def contents(folder: Path) -> Contents:
    """What the bundle is made of; `folder` gets what a run has."""
    work, specs = folder / "work", [INT8, FP32, INT4]
    asked = recipe(folder)
    source = CAUSAL_LM.source(asked)
    (work / "data").mkdir(parents=True)
    facts = source.prepare(work / "data", 0)
    facts.write(work / "data")
    data: Any = CAUSAL_LM.dataset(asked, work / "data")
    module: Any = CAUSAL_LM.build(asked.student, asked, facts)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim == 2:
                # Otherwise the same token follows always.
                weight.normal_(0, weight.shape[1] ** -0.5)
    tried = asked.data.tried
    trial.by_module(module, data, chosen(data, "val", tried), work / "trial-student")
    program, signature = CAUSAL_LM.deployed(module, CAUSAL_LM.signature(asked, facts))
    sizes = facts.sizes
    save_program(program, signature, work / FP32.program, sizes=sizes)
    for spec in (INT8, INT4):
        graph = load_converted(work / FP32.program)
        put_on_grid(graph, spec.precision)
        save_program(graph, signature, work / spec.program, sizes=sizes)
    done = lower(specs, work, folder / "artifacts", folder / "log", {})
    assert done.error is None, done.error
    samples = data.inputs(data.indices["val"][:_GOLDEN])
    methods = {spec.name: of_file(signature, spec).forward.with_sizes(sizes) for spec in specs}
    outputs = {spec.name: _outputs(folder / spec.path, methods[spec.name], samples) for spec in specs}
    # The rules of parity are others' to test.
    known = {spec: {"bytes": (folder / spec.path).stat().st_size, "sha256": sha256_tree(folder / spec.path)} for spec in specs}
    artifacts = [made_result(spec.format, spec.precision, **known[spec]) for spec in specs]
    return Contents(
        name="talker", task=CAUSAL_LM.name, run=folder, artifacts=artifacts, methods=methods,
        model=ModelFacts(name="llama", state_sha256="0" * 64, output_scale={}), signature=signature,
        preprocessing=CAUSAL_LM.preprocessing(asked, facts, signature, work / "data"),
        golden={spec.name: Sampled(samples, outputs[spec.name]) for spec in specs}, scales={},
        ship=ship(artifacts, CAUSAL_LM.metric), licenses=Licenses(code="MIT", data=_NONE, teacher=_NONE), versions={},
    )  # fmt: skip


_NONE = Unavailable(unavailable="made up")


def _outputs(path: Path, method: Any, samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    adapter.prepare(1)
    forward = adapter.load(str(path), 1, method.model_dump(mode="json"))
    rows = [forward({name: values[row : row + 1] for name, values in samples.items()})["logits"] for row in range(_GOLDEN)]
    return {"logits": np.concatenate(rows)}
