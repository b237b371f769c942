"""Quantization-aware training for 4 bits: what is trained is what files hold, and an interrupted stage ends as if it had not been."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_decoders import LENGTH, decoder, tokens
from made_llm import TINY, recipe
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from edgedistill.distill import checkpoint, stages
from edgedistill.distill.lesson import Lesson
from edgedistill.errors import UserError
from edgedistill.export.programs import save_program
from edgedistill.quantize import grid, qat_grid
from edgedistill.quantize.graph import tensor_of
from edgedistill.quantize.rounding import by_row
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks import task
from edgedistill.tasks.causal_lm import cached
from edgedistill.tasks.causal_lm.decoder import Decoder, signature
from edgedistill.verify.dynamic import DynamicReference
from edgedistill.verify.rungs import load_converted

PRECISION, LARGE = "int4-dynamic", grid.ROWS + 76
LM = task("causal-lm")


def prepared(kind: str, **facts: Any) -> nn.Module:
    """A decoder with biases and norms that are not 0 and 1, in training for 4 bits."""
    own = decoder(kind, vocab_size=LARGE, **facts)
    with torch.no_grad():
        for value in own.parameters():
            if value.ndim == 1:
                value.add_(torch.linspace(-0.3, 0.3, len(value)))
    return qat_grid.prepare(LM.quantizable(own), signature(LENGTH, LARGE, LENGTH), PRECISION)


@pytest.mark.parametrize(("kind", "facts"), [("llama", {"tie_word_embeddings": True}), ("gpt2", {})])
def test_trained_weights_are_those_of_the_program(kind: str, facts: dict[str, bool], tmp_path: Path) -> None:
    module, given = prepared(kind, **facts), tokens(LENGTH)
    learned = [value for value in module.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=3e-3)
    for _ in range(2):
        optimizer.zero_grad()
        module(*given).logsumexp(-1).mean().backward()
        optimizer.step()
    with torch.no_grad():
        trained = module(*given)
    weights = [part.weight.detach() for part in module.modules() if is_parametrized(part, "weight")]

    held = cached.deployed(qat_grid.stripped(module), LENGTH)
    save_program(held, signature(LENGTH, LARGE, LENGTH, cached.state(held)), tmp_path / "p.pt2")
    graph = load_converted(tmp_path / "p.pt2")
    counts = grid.put_on_grid(graph, PRECISION)
    nodes = [*((node, 0) for node in grid.lookups(graph)), *((node, 1) for node in grid.weighted(graph, PRECISION))]
    stored = [tensor_of(graph, node.args[place]) for node, place in nodes]
    assert len(weights) == len(stored) == sum(counts.values())
    assert counts["int8"] == 1, "the table of tokens"
    for weight in weights:
        assert any(torch.equal(weight, other) for other in stored)
    with torch.no_grad():
        exact = torch.fx.Interpreter(graph).run(*given)
    shipped, by_tensor = (DynamicReference(graph, tensors=tensors)(*given) for tensors in (False, True))
    # Medians, since a sum that is a last bit away can be rounded to another step.
    far = [float((trained - other).abs().median()) for other in (shipped, exact, by_tensor)]
    assert far[0] < 0.02 * min(far[1:]), "inputs of layers are rounded by row"


def test_gradients_pass_the_rounding() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 8), torch.randn(4, 64)
    ports = Signature.of([TensorSpec(name="x", shape=(1, 64))], [TensorSpec(name="y", shape=(1, 8))])
    plain = copy.deepcopy(layer)
    module = qat_grid.prepare(nn.Sequential(layer), ports, PRECISION)
    given = x.clone().requires_grad_()
    module(given).square().sum().backward()
    with torch.no_grad():
        plain.weight.copy_(grid.int4_blocks(plain.weight).values)
    rounded = by_row(x).float().requires_grad_()
    plain(rounded).square().sum().backward()
    assert torch.allclose(layer.parametrizations.weight.original.grad, plain.weight.grad, atol=1e-5)
    assert torch.allclose(given.grad, rounded.grad, atol=1e-5)
    assert torch.equal(qat_grid.stripped(module)[0].weight, layer.weight)


def test_weights_that_are_no_layers_are_refused() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.MultiheadAttention(32, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.heads(x, x, x, need_weights=False)[0]

    ports = Signature.of([TensorSpec(name="x", shape=(1, 4, 32))], [TensorSpec(name="y", shape=(1, 4, 32))])
    with pytest.raises(UserError, match=r"found a weight of int4 in MultiheadAttention \(heads\), expected Linear"):
        qat_grid.prepare(Attention(), ports, PRECISION)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    """Made tool calls, and a vocabulary so small that its table stays in floating point."""
    made = recipe(tmp_path_factory.mktemp("lesson"))
    folder = tmp_path_factory.mktemp("rows")
    LM.source(made).prepare(folder, 0)
    data = LM.dataset(made, folder)
    return Lesson(LM, LM.signature(made, data.facts), data, 1, 16, 0)


def test_an_interrupted_stage_ends_as_if_it_had_not_been(lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {"name": "qat", "epochs": 2, "lr": 3.0e-3, "losses": {"ce": {}}}
    made = recipe(tmp_path, student={"config": {**TINY, "num_hidden_layers": 1}}, distill={"stages": [{"name": "finetune"}, plan]})
    stage = made.learning.qat
    assert stage is not None
    student = LM.build(made.student, made, lesson.data.facts)

    def trained(folder: Path) -> nn.Module:
        folder.mkdir(exist_ok=True)
        module = stages.prepared_on_grid(copy.deepcopy(student), lesson, made, stage)
        curve = stages.train_quantized(made, lesson, module, stage, folder, 1).curve
        assert [epoch.epoch for epoch in curve] == [2, 3]
        assert curve[1].loss < curve[0].loss
        return module

    whole = trained(tmp_path / "whole")
    save = checkpoint.save

    def killed(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "two")
    again = trained(tmp_path / "two")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    tensors = [load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "two")]
    assert all(torch.equal(value, tensors[1][name]) for name, value in tensors[0].items())
    assert isinstance(whole, Decoder), "losses find its layers"
    restored = stages.restored(stages.prepared_on_grid(copy.deepcopy(student), lesson, made, stage), tmp_path / "whole")
    assert np.isclose(lesson.score(restored), lesson.score(whole))
