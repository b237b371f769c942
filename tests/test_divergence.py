"""The layer at which a file leaves its reference is found by bisection."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_documents import made_result

from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.records import ArtifactSpec
from edgedistill.run import Run
from edgedistill.steps import divergence as step
from edgedistill.tasks.image_classification.models import signature
from edgedistill.tasks.modules import batches_of
from edgedistill.tasks.modules import predict as outputs_of
from edgedistill.verify import divergence
from edgedistill.verify.failures import failures
from edgedistill.verify.rungs import load_converted, references


def predict(module: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """What a program of one output, or a part of it, gives for images."""
    return outputs_of(module, batches_of({"image": images}), signature(16, 4).forward)["logits"]


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_bisection_finds_every_first_cut_and_asks_seldom(count: int) -> None:
    for wanted in range(count):
        asked: list[int] = []

        def differs(position: int, wanted: int = wanted, asked: list[int] = asked) -> bool:
            asked.append(position)
            return position >= wanted

        assert divergence.first(count, differs) == wanted
        assert len(asked) <= np.ceil(np.log2(count)) + 1
    assert divergence.first(count, lambda position: False) is None


def test_every_form_of_the_state_is_cut_at_the_same_layers(tiny: Path) -> None:
    programs = tiny / "runs" / "tiny" / "work" / "programs"
    forms = [divergence.cuts(load_converted(programs / f"student-{form}.pt2")) for form in ("reference", "converted", "unfolded")]
    assert [cut.lsb for cut in forms[0]] == [cut.lsb for cut in forms[1]] == [cut.lsb for cut in forms[2]]
    assert [cut.layer for cut in forms[0]] == [cut.layer for cut in forms[1]]
    assert len(forms[0]) > 5


def test_the_last_prefix_is_the_program_and_an_earlier_one_what_a_layer_passes_on(tiny: Path) -> None:
    programs = tiny / "runs" / "tiny" / "work" / "programs"
    whole = load_converted(programs / "student-reference.pt2")
    images = np.load(programs / "samples" / "image.npy")[:8]
    cuts = divergence.cuts(whole)
    reference = references(whole)["integer"]
    last = references(divergence.prefix(whole, len(cuts) - 1))["integer"]
    assert np.array_equal(predict(last, images), predict(reference, images))
    values = predict(references(divergence.prefix(whole, 0))["integer"], images)
    assert len(values) == 8
    steps = values / cuts[0].lsb
    assert np.abs(steps - steps.round()).max() < 1e-3
    assert values.std() > 0


def test_all_operators_since_the_cut_before_are_named() -> None:
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the operators

    ops = torch.ops.quantized_decomposed

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for compute in (torch.tanh, lambda x: x.abs().flatten(1).neg()):
                x = ops.quantize_per_tensor(compute(x), 0.02, 3, -128, 127, torch.int8)
                x = ops.dequantize_per_tensor(x, 0.02, 3, -128, 127, torch.int8)
            return x

    graph = torch.export.export(Net(), (torch.rand(1, 2, 3),)).module()
    assert [cut.operator for cut in divergence.cuts(graph)] == ["tanh", "neg"]
    assert divergence.computed(graph, 0) == ["tanh (tanh)"]
    assert divergence.computed(graph, 1) == ["abs (abs_1)", "neg (neg)"]
    named = {"cuts": 2, "lowered": 2, "samples": 16, "layer": "neg", "operator": "neg", "computed": divergence.computed(graph, 1)}
    (line,) = failures([made_result("onnx", "int8", ok=False, divergence=named | {"note": "found by bisection"})])
    assert "behind neg (neg, not comparable), one of abs (abs_1), neg (neg), found by bisection" in line


@pytest.mark.parametrize("layer", [1, 4])
def test_a_planted_fault_is_named_by_its_layer(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: int) -> None:
    """The runtime is torch here: it runs prefixes of a program in which one channel's weights have the wrong sign."""
    run = tmp_path / "run"
    (run / "work").mkdir(parents=True)
    for name in ("programs", "records"):
        (run / "work" / name).symlink_to(tiny / "runs" / "tiny" / "work" / name)
    faulty = load_converted(run / "work" / "programs" / "student-converted.pt2")
    convolution = operators(faulty, (torch.ops.aten.conv2d.default,))[layer]
    tensor_of(faulty, convolution.args[1].args[0]).neg_()
    cuts = divergence.cuts(faulty)

    def executed(state: Run, spec: ArtifactSpec, program: Any, samples: Path, folder: Path) -> np.ndarray:
        position = int(folder.name.removeprefix("cut-"))
        shorter = references(divergence.prefix(faulty, position))["integer"]
        return np.concatenate([predict(shorter, image[None]) for image in np.load(samples / "image.npy")])

    monkeypatch.setattr(step, "_executed", executed)
    (run / "divergence").mkdir()
    found = step._located(Run(run), ArtifactSpec("onnx", "int8"), run / "divergence")
    behind = next(divergence._layer(n) for n in divergence._ends(faulty) if convolution in _before(n))
    assert (found.layer, found.operator) == behind
    assert found.lowered <= np.ceil(np.log2(len(cuts))) + 1
    failing = made_result("onnx", "int8", ok=False, divergence=found.model_dump(mode="json"))
    (line,) = failures([failing])
    assert behind[0] in line
    assert "fuse" in line


def _before(node: Any) -> set[Any]:
    """What a quantize node rounds, back to the next weighted operator."""
    found, waiting = set(), [node]
    while waiting:
        for before in waiting.pop().all_input_nodes:
            found.add(before)
            if before.target != torch.ops.aten.conv2d.default:
                waiting.append(before)
    return found
