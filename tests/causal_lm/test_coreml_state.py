"""What a program keeps between calls as a Core ML state: a decoder's cache, in the texts that its file writes, and dimensions that vary."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_decoders import LENGTH, decoder
from torch import nn
from torch.fx import GraphModule

from edgedistill.backends import backend
from edgedistill.backends.coreml import lower as coreml
from edgedistill.backends.coreml.mil import float16, float64
from edgedistill.backends.coreml.norms import bound_squares
from edgedistill.backends.coreml.rewrites import write_sizes
from edgedistill.backends.inspect import inspect
from edgedistill.export.programs import load_signature, save_program
from edgedistill.quantize.grid import put_on_grid
from edgedistill.quantize.trace import trace
from edgedistill.records import ArtifactSpec, Parity
from edgedistill.signature import MethodSignature, Signature, TensorSpec
from edgedistill.tasks.causal_lm import cached
from edgedistill.tasks.causal_lm.decoder import Decoder, signature
from edgedistill.tasks.causal_lm.generation import generate
from edgedistill.verify import judge
from edgedistill.verify.rungs import load_converted

VOCABULARY, PROMPT, WRITTEN, TOKENS, WANTED = 332, 10, 20, 8, 4
FEW = [ArtifactSpec("coreml", "fp16"), ArtifactSpec("coreml", "int4-weights")]
Forward = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@pytest.fixture(scope="module")
def model() -> Decoder:
    """A small llama with weights that float16 holds, and norms that scale."""
    own = decoder(vocab_size=VOCABULARY)
    with torch.no_grad():
        for weight in own.parameters():
            weight.copy_((weight + torch.rand(weight.shape) if weight.ndim == 1 else weight).half())
    return own


@pytest.fixture(scope="module")
def folder(model: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its programs and files."""
    folder = tmp_path_factory.mktemp("stateful")
    deployed = cached.deployed(model, LENGTH)
    ports = signature(LENGTH, VOCABULARY, LENGTH, cached.state(deployed))
    save_program(deployed, ports, folder / FEW[0].program, sizes=ports.limits)
    for spec in FEW:
        lowered(spec, folder)
    return folder


def lowered(spec: ArtifactSpec, folder: Path) -> None:
    source, ports = folder / FEW[0].program, load_signature(folder / FEW[0].program)
    if spec.program != FEW[0].program:
        graph = load_converted(source)
        put_on_grid(graph, spec.precision)
        source = folder / spec.program
        save_program(graph, ports, source, sizes=ports.limits)
    coreml.lower(torch.export.load(source), ports, folder / spec.name, spec, {"model": "llama"})


def opened(adapter: Any, path: Path, method: MethodSignature) -> Forward:
    return adapter.load(str(path), 1, method.model_dump(mode="json"))  # type: ignore[no-any-return]


def of_file(adapter: Any, spec: ArtifactSpec, folder: Path) -> Forward:
    return opened(adapter, folder / spec.name, load_signature(folder / FEW[0].program).forward)


def of_graph(graph: GraphModule) -> Forward:
    def forward(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        with torch.no_grad():
            return {"logits": graph(*map(torch.from_numpy, arrays.values())).numpy()}

    return forward


def calls(tokens: np.ndarray, *ends: int) -> list[dict[str, np.ndarray]]:
    """`tokens` [T] in calls that end at `ends`, each with the logits of all its tokens."""
    positions = np.arange(len(tokens), dtype=np.int32)
    spans = zip((0, *ends), ends, strict=False)
    return [
        {"input_ids": tokens[None, start:end], "positions": positions[None, start:end], "wanted": positions[None, : end - start]}
        for start, end in spans
    ]


def prompts(count: int, length: int = PROMPT) -> np.ndarray:
    return np.random.default_rng(1).integers(0, VOCABULARY, (count, length), np.int32)


def test_a_file_writes_the_texts_of_transformers_one_after_the_other(model: Decoder, folder: Path) -> None:
    given = prompts(4)
    model.model.set_attn_implementation("eager")
    expected = model.model.generate(torch.from_numpy(given).long(), max_new_tokens=WRITTEN, do_sample=False, pad_token_id=0)
    forward = of_file(float64, FEW[0], folder)
    texts = [generate(forward, prompt, limit=WRITTEN, length=LENGTH).tokens for prompt in given]
    assert texts == expected[:, PROMPT:].tolist()
    assert len({tuple(text) for text in texts}) == len(given)
    assert min(len({*text}) for text in texts) > 3, "a constant text proves nothing"


def test_a_file_computes_its_program_in_calls_of_any_length(folder: Path) -> None:
    graph = load_converted(folder / FEW[0].program)
    for tensor in graph.buffers():
        if tensor.is_floating_point():
            # Tables of rotations, which the file holds in float16.
            tensor.copy_(tensor.half())
    ours, theirs = of_file(float64, FEW[0], folder), of_graph(graph)
    tokens = prompts(1, LENGTH)[0]
    # The second text is shorter, and sees nothing of the first.
    for call in (*calls(tokens, 16, 17, 20, LENGTH), *calls(tokens[::-1].copy(), 3, 4)):
        np.testing.assert_allclose(ours(call)["logits"], theirs(call)["logits"], atol=2e-4)
    # Another load has a state of its own.
    call = calls(tokens, 20, 21)[1]
    assert np.abs(of_file(float64, FEW[0], folder)(call)["logits"] - ours(call)["logits"]).max() > 0.1


def keeps_its_rule(spec: ArtifactSpec, folder: Path) -> None:
    graph, forward = load_converted(folder / spec.program), of_file(float16, spec, folder)
    texts = prompts(4, 24)
    found, expected, other = (
        {"logits": np.concatenate([call(*calls(text, 24))["logits"] for text in given])}
        for call, given in ((forward, texts), (of_graph(graph), texts), (of_graph(graph), np.roll(texts, 1, axis=1)))
    )
    verdicts = [judge.verdict(spec, found, reference) for reference in (expected, other)]
    assert [isinstance(verdict, Parity) and verdict.ok for verdict in verdicts] == [True, False]


@pytest.mark.parametrize("spec", FEW, ids=lambda spec: spec.precision)
def test_a_file_keeps_its_rule_in_float16(folder: Path, spec: ArtifactSpec) -> None:
    keeps_its_rule(spec, folder)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8-weights", "palette4"])
def test_a_file_of_every_precision_keeps_its_rule(folder: Path, precision: str) -> None:
    lowered(ArtifactSpec("coreml", precision), folder)
    keeps_its_rule(ArtifactSpec("coreml", precision), folder)


def test_a_file_says_what_it_takes_and_writes_slices_of_its_state(folder: Path) -> None:
    from coremltools.proto import Model_pb2

    path = folder / FEW[0].name
    description = Model_pb2.Model.FromString((path / "Data/com.apple.CoreML/model.mlmodel").read_bytes()).description
    ranges = [port.type.multiArrayType.shapeRange.sizeRanges[1] for port in description.input]
    assert [(size.lowerBound, size.upperBound) for size in ranges] == [(1, LENGTH)] * 3
    kept = [port.type.stateType.arrayType for port in description.state]
    assert [([*array.shape], array.ArrayDataType.Name(array.dataType)) for array in kept] == [([1, 2, LENGTH, 16], "FLOAT16")] * 4
    content = inspect(path)
    assert content.operators["slice_update"] == content.operators["write_state"] == 4
    # Nothing computes a shape: sizes that do not vary stay known.
    assert not {"scatter", "scatter_nd", "shape", "tile"} & set(content.operators)
    shapes = {port.name: port.shape for port in (*content.inputs, *content.outputs)}
    assert shapes == {name: [1, None] for name in ("input_ids", "positions", "wanted")} | {"logits": [1, None, VOCABULARY]}


def test_a_state_needs_newer_systems() -> None:
    facts = backend("coreml")
    assert facts.oldest_os("fp16", state=True) == {"ios": "18", "macos": "15"}
    assert facts.oldest_os("fp16", state=False) == facts.minimum_os == {"ios": "17", "macos": "14"}


class Kept(nn.Module):
    """Keeps what it is given for each position, and answers those that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 6)
        self.register_buffer("rows", torch.zeros(TOKENS, 6))

    def forward(self, values: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        rows = self.rows.index_copy_(0, positions.long(), self.layer(values))
        seen = (values @ rows.t()).softmax(1) @ rows
        return seen.index_select(0, wanted.long())


def of_kept(module: nn.Module, folder: Path, *, state: bool = True) -> Forward:
    rows = TensorSpec(name="rows", shape=(TOKENS, 6))
    ports = Signature.of(
        [
            TensorSpec(name="values", shape=("tokens", 6)),
            TensorSpec(name="positions", dtype="int32", shape=("tokens",)),
            TensorSpec(name="wanted", dtype="int32", shape=("wanted",)),
        ],
        [TensorSpec(name="answers", shape=("wanted", 6))],
        state=(rows,) if state else (),
        limits={"tokens": TOKENS, "wanted": WANTED},
    )
    program = trace(module, ports, sizes={"tokens": TOKENS, "wanted": 3})
    coreml.lower(program, ports, folder / "kept.mlpackage", FEW[0], {"model": "kept"})
    return opened(float64, folder / "kept.mlpackage", ports.forward)


def test_two_dimensions_vary_on_their_own(tmp_path: Path) -> None:
    module = Kept().eval()
    forward = of_kept(module, tmp_path)
    random = np.random.default_rng(0)
    for start, count, wanted in ((0, 5, [4, 0]), (5, 1, [0]), (6, 2, [1, 0, 1, 0]), (0, TOKENS, [7])):
        arrays = {
            "values": random.normal(size=(count, 6)).astype(np.float32),
            "positions": np.arange(start, start + count, dtype=np.int32),
            "wanted": np.array(wanted, np.int32),
        }
        with torch.no_grad():
            expected = module(*map(torch.from_numpy, arrays.values())).numpy()
        np.testing.assert_allclose(forward(arrays)["answers"], expected, atol=2e-3)
    assert inspect(tmp_path / "kept.mlpackage").outputs[0].shape == [None, 6]


class Copied(nn.Module):
    """Copies by index into a tensor that it makes anew."""

    def forward(self, values: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return torch.zeros(TOKENS, 6).index_copy(0, positions.long(), values).index_select(0, wanted.long())


def test_copies_by_any_index_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="which is no state"):
        of_kept(Copied(), tmp_path, state=False)


class Norms(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return normed + x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True))


def traced(module: nn.Module, spec: TensorSpec) -> GraphModule:
    graph = trace(module, Signature.of([spec], [], limits={"tokens": TOKENS}), sizes={"tokens": TOKENS}).module(check_guards=False)
    assert isinstance(graph, GraphModule)
    return graph


def test_norms_of_large_values_are_finite_in_float16() -> None:
    graph = traced(Norms(), TensorSpec(name="x", shape=(1, 3, 16)))
    assert bound_squares(graph) == 1, "the second has no epsilon"
    graph.recompile()
    generator = torch.Generator().manual_seed(0)
    for scale, dtype, tolerance in ((1.0, torch.float64, 1e-12), (1e-4, torch.float64, 1e-12), (3000.0, torch.float16, 2e-2)):
        x = (torch.randn(1, 3, 16, generator=generator, dtype=torch.float64) * scale).to(dtype)
        second = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True))
        expected = x.double() * torch.rsqrt(x.double().pow(2).mean(-1, keepdim=True) + 1e-6)
        torch.testing.assert_close((graph(x) - second).double(), expected, atol=tolerance, rtol=0)


class Heads(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(1, x.shape[1], -1, 4).transpose(1, 2).reshape(2, x.shape[1], 4)


def test_a_size_that_varies_is_not_computed() -> None:
    graph = traced(Heads(), TensorSpec(name="x", shape=(1, "tokens", 8)))
    assert write_sizes(graph) == 2
    graph.recompile()
    assert [node.args[1] for node in graph.graph.nodes if node.op == "call_function" and "view" in str(node.target)] == [[1, -1, 2, 4]]
    assert not any("sym_size" in str(node.target) for node in graph.graph.nodes)
    x = torch.rand(1, 5, 8)
    assert torch.equal(graph(x), Heads()(x))
