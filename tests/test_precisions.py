"""Post-training precisions: weights on one grid, packed as the same integers by each format, and held to the program that they lie in."""

import copy
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSIFIER, NAMES, edgedistill, plain
from torch import nn

from edgedistill.backends import backend, backends
from edgedistill.export.programs import save_program
from edgedistill.measure import local
from edgedistill.measure.adapters import executor
from edgedistill.quantize import grid
from edgedistill.quantize.graph import tensor_of
from edgedistill.recipe.loading import recorded
from edgedistill.recipe.precisions import is_dynamic, needs_program, refusal
from edgedistill.recipe.targets import TargetArtifact, load_target
from edgedistill.records import ArtifactSpec
from edgedistill.run import Run
from edgedistill.tasks.image_classification.models import signature
from edgedistill.verify.dynamic import DynamicReference
from edgedistill.verify.parity import DYNAMIC_LIMIT, FLOAT_LIMITS, float_parity
from edgedistill.verify.rungs import load_converted
from edgedistill.verify.scoring import Scorer

SIZE = 8


class Net(nn.Module):
    """A convolution and a depthwise one with batch norm, and a token mixer with layer norm: linear layers in blocks and not in blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 40), nn.Linear(40, 32, bias=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.depthwise(self.stem(x)).flatten(2).transpose(1, 2)
        tokens = tokens + self.down(torch.relu(self.up(self.norm(tokens))))
        return self.head(tokens.mean(1))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((24, 3, SIZE, SIZE), np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved float program, norms with statistics of their own."""
    torch.manual_seed(0)
    net = Net()
    for name, parameter in net.named_parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5) if name.endswith("weight") else nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        net.train()(torch.rand(64, 3, SIZE, SIZE))
    path = tmp_path_factory.mktemp("precisions") / "float.pt2"
    save_program(net.eval(), signature(SIZE, 10), path)
    return path


def answers(model: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(torch.from_numpy(image[None])).numpy() for image in images])


def test_every_pair_exists_or_is_refused_with_a_reason() -> None:
    for format_, facts in backends().items():
        exists = facts.precisions
        for precision in {p for found in backends().values() for p in found.precisions}:
            said = refusal(format_, precision)
            assert (said is None) == (precision in exists)
            if needs_program(precision) and said:
                assert "; take " in said
                assert precision in facts.refusals
                assert said.rpartition("take ")[2].split(" or ")[0] in exists, "what is named instead exists"
    assert not [one.format for one in backends().values() if set(one.refusals) & {*one.precisions, *one.inputs}]
    with pytest.raises(ValueError, match="drops the scales"):
        TargetArtifact(format="executorch", precision="int8-weights")
    wanted = {(a.format, a.precision) for a in load_target("tradeoff").artifacts}
    every = {(format_, precision) for format_, facts in backends().items() for precision in facts.precisions}
    assert wanted == {pair for pair in every if pair[1] != "int16x8"}, "which LiteRT's converter refuses for some students"


@pytest.mark.parametrize(("make", "largest"), [(grid.int8_channels, 127), (grid.int4_blocks, 7)])
def test_a_grid_finds_its_own_integers(make, largest: int) -> None:
    weight = torch.randn(6, 64, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    found = make(weight)
    assert found.steps.abs().max() == largest
    assert not found.values[2].any()
    error = (found.values - weight).abs().reshape(6, -1, 32, 3, 3) if found.block else (found.values - weight).abs()
    assert (error <= found.scale * 0.51).all()
    again = make(found.values)
    assert torch.equal(again.steps, found.steps)
    assert torch.equal(again.scale, found.scale)


def test_a_palette_has_16_values_near_the_weights() -> None:
    weight = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    found = grid.palette(weight)
    assert len(found.unique()) == 16
    assert torch.equal(found.half().float(), found), "a float16 program holds the table"
    # The best 16 levels for a normal distribution leave 0.0095 of its variance (Max 1960, table I).
    assert ((found - weight) ** 2).mean() < 0.012
    assert torch.equal(grid.palette(found), found)


def test_folding_norms_changes_nothing_but_where_numbers_lie(source: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    before = answers(load_converted(source), images)
    monkeypatch.setattr(grid, "on_grid", lambda weight, scheme: weight)
    graph = load_converted(source)
    assert grid.put_on_grid(graph, "int4-weights") == {"int4": 2, "int8": 3}
    assert np.abs(answers(graph, images) - before).max() < 1e-5 * np.abs(before).max()
    assert not [n for n in graph.graph.nodes if "batch_norm" in str(n.target)]
    norm = next(n for n in graph.graph.nodes if "layer_norm" in str(n.target))
    assert norm.args[2:4] == (None, None), "a converter finds nothing to move into the layer behind"
    assert len(list(graph.parameters())) == 9, "what was folded is not saved"


def test_activations_are_rounded_by_row_or_by_tensor() -> None:
    from edgedistill.quantize.rounding import by_row, by_tensor

    rows = torch.tensor([[0.0, 1.0, 2.52], [-1.0, 0.0, 24.5]])
    assert torch.allclose(by_row(rows)[0], rows[0].double(), atol=0.005), "steps near 0.01"
    assert torch.allclose(by_row(rows)[1], rows[1].double(), atol=1e-5), "steps of 0.1"
    assert torch.allclose(by_tensor(rows)[0], torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64), atol=1e-6)
    assert not by_row(torch.zeros(1, 3)).any()
    assert not by_tensor(torch.zeros(1, 3)).any()


CASES = [
    ("onnx", "int4-weights"), ("onnx", "int8-dynamic"), ("coreml", "int8-weights"), ("coreml", "int4-weights"), ("coreml", "palette4"),
    ("coreai", "int8-weights"), ("coreai", "int4-weights"), ("coreai", "palette4"),
    ("litert", "int8-weights"), ("litert", "int4-dynamic"), ("executorch", "int4-dynamic"), ("ort", "int8-weights"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "precision"), CASES)
def test_a_file_computes_what_its_program_does_and_a_wrong_scale_is_seen(
    source: Path, images: np.ndarray, kind: str, precision: str, tmp_path: Path
) -> None:
    graph = load_converted(source)
    grid.put_on_grid(graph, precision)
    save_program(graph, signature(SIZE, 10), tmp_path / "student.pt2")
    dynamic = is_dynamic(precision)
    expected = answers(DynamicReference(graph, tensors=kind == "onnx") if dynamic else graph, images)
    path = tmp_path / f"student{backend(kind).suffix}"
    importlib.import_module(backend(kind).lower).lower(
        torch.export.load(tmp_path / "student.pt2"), signature(SIZE, 10), path, ArtifactSpec(kind, precision), {"model": "net"}
    )
    found = run(kind, path, images, tmp_path)
    limit = DYNAMIC_LIMIT if dynamic else FLOAT_LIMITS[backend(kind).twin]
    parity = float_parity(found, expected, relative_limit=limit)
    assert parity.ok, parity
    if "int8" not in precision:
        # The float student is not what the file computes.
        assert not float_parity(found, answers(load_converted(source), images), relative_limit=limit).ok
    if dynamic:
        other = answers(DynamicReference(graph, tensors=kind != "onnx"), images)
        assert np.abs(found - expected).mean() < 0.3 * np.abs(found - other).mean(), "activations rounded the way of this runtime"
    wrong = copy.deepcopy(graph)
    tensor_of(wrong, grid.weighted(wrong, precision)[-1].args[1])[3] *= 1.3
    shifted = answers(DynamicReference(wrong, tensors=kind == "onnx") if dynamic else wrong, images)
    assert not float_parity(found, shifted, relative_limit=limit).ok, "one channel's scale"


def run(kind: str, path: Path, images: np.ndarray, folder: Path) -> np.ndarray:
    if kind == "executorch":
        np.save(folder / "images.npy", images)
        local.execute(
            executor(kind).module,
            path,
            folder / "images.npy",
            signature=CLASSIFIER,
            outputs=folder / "out.npy",
            threads=1,
            bench=None,
            log=folder / "log",
            timeout_s=120,
        )
        return np.load(folder / "out.npy")
    adapter = importlib.import_module(executor(kind, float16=True).module)
    adapter.prepare(1)
    forward = plain(adapter.load(str(path), 1, NAMES))
    return np.concatenate([forward(image[None]) for image in images])


def test_files_hold_the_integers_of_the_grid(source: Path, tmp_path: Path) -> None:
    import onnx

    from edgedistill.backends.onnx import lower as backend

    graph = load_converted(source)
    grid.put_on_grid(graph, "int4-weights")
    ports, path = signature(SIZE, 10), tmp_path / "student.onnx"
    save_program(graph, ports, tmp_path / "student.pt2")
    backend.lower(torch.export.load(tmp_path / "student.pt2"), ports, path, ArtifactSpec("onnx", "int4-weights"), {})
    packed = [i for i in onnx.load(tmp_path / "student.onnx").graph.initializer if i.name.endswith("_steps")]
    held = [onnx.numpy_helper.to_array(i) for i in packed]
    halves = [len(i.raw_data) * 2 for i in packed if i.data_type == onnx.TensorProto.INT4]
    assert halves == [32 * 40, 10 * 32], "two to a byte"
    found = sorted((np.sort(array.astype(np.int64), None).tolist() for array in held), key=str)
    weights = [tensor_of(graph, node.args[1]) for node in grid.weighted(graph, "int4-weights")]
    expected = [grid.int4_blocks(w) if grid.in_blocks(w.shape) else grid.int8_channels(w) for w in weights]
    assert found == sorted((np.sort(e.steps.numpy().astype(np.int64), None).tolist() for e in expected), key=str)


@pytest.mark.slow
def test_an_export_verifies_them_and_puts_them_into_one_table(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "runs" / "tiny", tmp_path / "tiny")
    wanted = [("onnx", "int8-static"), ("onnx", "int8-weights"), ("onnx", "int8-dynamic"), ("onnx", "fp32")]
    lines = "".join(f"\n  - {{format: {kind}, precision: {precision}}}" for kind, precision in wanted)
    lines += "\n  - {format: onnx, precision: int8, input: uint8-nhwc}"
    (tmp_path / "small.yaml").write_text(f"name: small\ndescription: Smaller.\nminimum_os: any\nartifacts:{lines}\n")
    done = edgedistill("export", "tiny", "--target", "small.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    by_precision = {a["precision"]: a for a in document["artifacts"]}
    assert all(a["ok"] for a in document["artifacts"])
    assert by_precision["int8-weights"]["parity"]["reference"] == "int8-weights"
    assert by_precision["int8-dynamic"]["parity"]["reference"] == "int8-dynamic-tensors"
    assert by_precision["int8-static"]["parity"]["reference"] == "int8-static-integer"
    state = Run(tmp_path / "tiny")
    pixels = next(a for a in document["artifacts"] if a["name"] == "student-int8-uint8.onnx")
    assert (pixels["input"], pixels["quantization"]["twin"]) == ("uint8-nhwc", "student-fp32.onnx")
    same = [np.load(state.work(f"val-student-int8{suffix}.onnx", "outputs", "logits.npy")) for suffix in ("", "-uint8")]
    assert (same[0] == same[1]).all()
    assert next(row for row in pixels["delegation"]["layers"] if row["operator"] == "Div")["delegate"] is None
    static, scorer = state.artifact("student-int8-static.onnx"), Scorer(state, recorded(state.folder))
    given, step = scorer.outputs(static.name), state.result("program-int8-static")["output_scale"]["logits"]
    assert given is not None
    scorer._outputs[static.name, "val"] = {"logits": given["logits"] + 5 * step}
    # Counted in steps of its own scale, which is not that of the state that was trained.
    judged = scorer.judged(static)
    assert judged.parity.mean_lsb == pytest.approx(5, abs=0.1)
    cost = by_precision["int8-weights"]["quantization"]
    assert cost["twin"] == "student-fp32.onnx"
    assert cost["bytes_ratio"] < 1
    assert "small" in document["bundles"]
    ladder = {row["rung"]: row for row in json.loads((tmp_path / "tiny" / "summary.json").read_text())["ladder"]}
    assert ladder["int8-weights"]["drop_from"] == "student"
    assert ladder["int8-static-integer"]["executed_by"] == "pytorch_integer"
    assert ladder["student-int8-weights.onnx"]["drop_from"] == "int8-weights"


class PostNorm(nn.Module):
    """A layer norm that a linear layer and a sum read, as in an encoder of texts, directly or behind a dropout."""

    def __init__(self, behind: nn.Module) -> None:
        super().__init__()
        self.behind = behind
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 10)
        nn.init.uniform_(self.norm.weight, 0.2, 3.0)
        nn.init.normal_(self.norm.bias)
        # Channels of very different size, so that rounding before the norm's scale is not rounding behind it.
        self.up.weight.data *= torch.logspace(-1, 1, 32)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = self.behind(self.norm(image.reshape(len(image), 3 * SIZE * SIZE // 32, 32)))
        return self.down(torch.relu(self.up(tokens)) + torch.cat([tokens, tokens], -1)).mean(1)


@pytest.mark.parametrize(
    ("precision", "behind"), [("int8-weights", nn.Identity()), ("int8-dynamic", nn.Identity()), ("int8-weights", nn.Dropout())]
)
def test_the_scale_of_a_norm_stays_out_of_the_weights(precision: str, behind: nn.Module, images: np.ndarray, tmp_path: Path) -> None:
    import ai_edge_litert.schema_py_generated as schema

    torch.manual_seed(0)
    ports = signature(SIZE, 10)
    save_program(PostNorm(behind).eval(), ports, tmp_path / "float.pt2")
    graph = load_converted(tmp_path / "float.pt2")
    grid.put_on_grid(graph, precision)
    save_program(graph, ports, tmp_path / "student.pt2")
    path = tmp_path / "student.tflite"
    program = torch.export.load(tmp_path / "student.pt2")
    importlib.import_module(backend("litert").lower).lower(program, ports, path, ArtifactSpec("litert", precision), {})
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    held = [
        np.frombuffer(bytes(model.buffers[t.buffer].data), np.int8) for t in model.subgraphs[0].tensors if t.type == schema.TensorType.INT8
    ]
    for node in grid.weighted(graph, precision):
        steps = grid.int8_channels(tensor_of(graph, node.args[1])).steps.numpy().ravel()
        assert any(np.array_equal(steps, array) for array in held), node.name
    expected = answers(DynamicReference(graph, tensors=False) if is_dynamic(precision) else graph, images)
    limit = DYNAMIC_LIMIT if is_dynamic(precision) else FLOAT_LIMITS[backend("litert").twin]
    assert float_parity(run("litert", path, images, tmp_path), expected, relative_limit=limit).ok
