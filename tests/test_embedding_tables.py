"""Large embedding tables: on the int8 grid by row in every precision of a grid, and stored as those integers by each format."""

import copy
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgedistill.backends import backend
from edgedistill.backends.coreml.weights import _is_table
from edgedistill.backends.inspect import inspect
from edgedistill.export.programs import save_program
from edgedistill.files import tree_bytes
from edgedistill.measure import local
from edgedistill.measure.adapters import executor
from edgedistill.quantize import grid
from edgedistill.quantize.graph import tensor_of
from edgedistill.recipe.precisions import is_dynamic
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec
from edgedistill.verify.dynamic import DynamicReference
from edgedistill.verify.parity import DYNAMIC_LIMIT, FLOAT_LIMITS, float_parity
from edgedistill.verify.rungs import load_converted

WORDS, WIDTH, LENGTH = 4000, 32, 16
ZEROS, WIDE = 0, 7
"""A row of zeros, and one whose values are ten times those of others."""


class Tagger(nn.Module):
    """A table of words, one of 1024 kinds, and two linear layers. Places make it depend on the length."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds = nn.Embedding(WORDS, WIDTH, padding_idx=ZEROS), nn.Embedding(grid.ROWS, 8)
        self.up, self.head = nn.Linear(WIDTH + 8, WIDTH), nn.Linear(WIDTH, 10)
        with torch.no_grad():
            self.words.weight[WIDE] *= 10

    def forward(self, words: Tensor, kinds: Tensor) -> Tensor:
        tokens = torch.cat([self.words(words), self.kinds(kinds)], -1)
        places = torch.arange(words.shape[1], device=words.device)[None, :, None] * 0.1
        return self.head(torch.relu(self.up(tokens) + places)).mean(1)


def ports(length: int | str = "T") -> Signature:
    tokens = [TensorSpec(name=name, dtype="int32", shape=(1, length)) for name in ("words", "kinds")]
    return Signature.of(tokens, [TensorSpec(name="logits", shape=(1, 10))])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tables") / "float.pt2"
    save_program(Tagger().eval(), ports(), path, sizes={"T": LENGTH})
    return path


@pytest.fixture(scope="module")
def samples() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    words = random.integers(0, WORDS, (8, 1, LENGTH), np.int32)
    words[:, 0, :3] = ZEROS, WIDE, WORDS - 1
    return {"words": words, "kinds": random.integers(0, grid.ROWS, words.shape, np.int32)}


def answers(model: nn.Module, samples: dict[str, np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(*map(torch.from_numpy, sample)).numpy() for sample in zip(*samples.values(), strict=True)])


def tables(graph: Any) -> list[Tensor]:
    return [tensor_of(graph, node.args[0]) for node in graph.graph.nodes if node.target == torch.ops.aten.embedding.default]


@pytest.mark.parametrize("precision", ["int8-weights", "int4-dynamic", "palette4"])
def test_large_tables_are_on_the_grid_and_small_ones_stay(source: Path, precision: str) -> None:
    graph = load_converted(source)
    words, kinds = tables(graph)
    counts = grid.put_on_grid(graph, precision)
    rounded, same = tables(graph)
    assert torch.equal(rounded, grid.int8_channels(words).values)
    assert ((rounded - words).abs() <= words.abs().amax(1, keepdim=True) / 127 * 0.51).all(), "a scale for each row"
    assert not rounded[ZEROS].any()
    assert torch.equal(same, kinds), "1024 rows are no large table"
    assert sum(counts.values()) == 3
    assert len(list(graph.parameters())) == 6, "the float table is not saved as well"


def test_a_layer_that_shares_the_table_keeps_its_own_grid() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(WORDS, WIDTH)

        def forward(self, words: Tensor) -> Tensor:
            return nn.functional.linear(self.words(words), self.words.weight)

    model = Tied().eval()
    original = model.words.weight.detach().clone()
    graph = torch.export.export(model, (torch.zeros(1, LENGTH, dtype=torch.int32),)).module(check_guards=False)
    assert grid.put_on_grid(graph, "int4-weights") == {"int8": 1, "int4": 1}
    assert torch.equal(tables(graph)[0], grid.int8_channels(original).values)
    assert torch.equal(tensor_of(graph, grid.weighted(graph, "int4-weights")[0].args[1]), grid.int4_blocks(original).values)


CASES = [
    ("onnx", "int8-weights"), ("onnx", "int8-dynamic"), ("litert", "int8-weights"), ("litert", "int4-dynamic"),
    ("executorch", "int8-dynamic"), ("coreml", "int8-weights"), ("coreml", "palette4"), ("coreai", "int4-weights"),
]  # fmt: skip
VARYING = ("onnx", "executorch")
"""What takes other lengths than that of the program's example."""


@pytest.mark.parametrize(("kind", "precision"), CASES)
def test_a_file_has_the_table_in_bytes_and_computes_what_its_program_does(
    source: Path, samples: dict[str, np.ndarray], kind: str, precision: str, tmp_path: Path
) -> None:
    graph = load_converted(source)
    grid.put_on_grid(graph, precision)
    signature = ports("T" if kind in VARYING else LENGTH)
    path = lower(graph, kind, precision, signature, tmp_path)
    integers = WORDS * WIDTH
    assert integers < tree_bytes(path) < 1.5 * integers, "as float16 the table alone would have twice as many"
    content = inspect(path)
    assert content.weights["int8"].bytes > integers
    if not is_dynamic(precision):
        assert "int8" not in content.activations, "rows that were read are weights"

    def reference(program: Any) -> nn.Module:
        return DynamicReference(program, tensors=kind in ("onnx", "ort")) if is_dynamic(precision) else program

    if kind in VARYING:
        samples = {name: np.ascontiguousarray(values[:, :, :9]) for name, values in samples.items()}
    found = run(kind, path, samples, tmp_path, signature)
    limit = DYNAMIC_LIMIT if is_dynamic(precision) else FLOAT_LIMITS[backend(kind).twin]
    parity = float_parity(found, answers(reference(graph), samples), relative_limit=limit)
    assert parity.ok, parity
    wrong = copy.deepcopy(graph)
    tables(wrong)[0][WIDE] *= 1.3
    assert not float_parity(found, answers(reference(wrong), samples), relative_limit=limit).ok, "one row's scale"


def test_onnx_dequantizes_what_it_read(source: Path, tmp_path: Path) -> None:
    import onnx

    graph = load_converted(source)
    grid.put_on_grid(graph, "int8-weights")
    written = onnx.load(lower(graph, "onnx", "int8-weights", ports(LENGTH), tmp_path)).graph
    (steps,) = [i for i in written.initializer if i.data_type == onnx.TensorProto.INT8 and list(i.dims) == [WORDS, WIDTH]]
    assert [node.op_type for node in written.node if steps.name in node.input] == ["Gather"]
    expected = grid.int8_channels(tables(load_converted(source))[0]).steps
    assert (onnx.numpy_helper.to_array(steps) == expected.numpy()).all()


def test_core_ml_packs_no_table_that_is_not_on_the_grid() -> None:
    table = torch.randn(grid.ROWS + 1, WIDTH, generator=torch.Generator().manual_seed(0))
    table[ZEROS] = 0
    on_grid = grid.int8_channels(table).values.half().numpy()
    assert _is_table(on_grid)
    assert not _is_table(table.half().numpy()), "what an index reads"
    assert not _is_table(on_grid[:-1])
    assert not _is_table(None)


def lower(graph: Any, kind: str, precision: str, signature: Signature, folder: Path) -> Path:
    program, path = folder / "student.pt2", folder / f"student{backend(kind).suffix}"
    save_program(graph, signature, program, sizes={"T": LENGTH})
    lowering = importlib.import_module(backend(kind).lower)
    lowering.lower(torch.export.load(program), signature, path, ArtifactSpec(kind, precision), {"model": "tagger"})
    return path


def run(kind: str, path: Path, samples: dict[str, np.ndarray], folder: Path, signature: Signature) -> np.ndarray:
    adapter = executor(kind, float16=backend(kind).twin == "fp16").module
    if kind == "executorch":
        # Its thread pool has one size in a process.
        inputs = {name: folder / f"{name}.npy" for name in samples}
        for name, values in samples.items():
            np.save(inputs[name], values[:, 0])
        logits, log = folder / "logits.npy", folder / "log"
        local.execute(adapter, path, inputs, signature=signature.forward, outputs=logits, threads=1, bench=None, log=log, timeout_s=120)
        return np.load(logits)
    module = importlib.import_module(adapter)
    module.prepare(1)
    forward = module.load(str(path), 1, signature.forward.model_dump(mode="json"))
    given = [dict(zip(samples, sample, strict=True)) for sample in zip(*samples.values(), strict=True)]
    return np.concatenate([forward(sample)["logits"] for sample in given])
