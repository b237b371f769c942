"""A .pte for Core ML or Vulkan: lowered, its Core ML program taken out and executed, and not called verified where nothing ran it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators of quantized programs
from conftest import NAMES, plain
from made_documents import TARGET, contents
from torch import nn
from torch.nn import functional

from edgedistill.backends import backend, backends
from edgedistill.backends.coreml import payload as coreml_delegate
from edgedistill.backends.coreml.mil import delegate as mil_delegate
from edgedistill.backends.executorch.partitioners import prepared
from edgedistill.backends.inspect import inspect
from edgedistill.bundle.write import write_bundle
from edgedistill.cli.tables import show_artifacts
from edgedistill.export.lower import lower
from edgedistill.export.programs import save_program
from edgedistill.files import sha256_file
from edgedistill.measure.adapters import not_here
from edgedistill.recipe.loading import recorded
from edgedistill.recipe.precisions import refusal
from edgedistill.recipe.targets import Target, TargetArtifact, load_target
from edgedistill.records import Artifact, ArtifactSpec, Delegation
from edgedistill.records.documents import Benched
from edgedistill.report.artifacts import artifact
from edgedistill.report.twins import with_twins
from edgedistill.run import Step
from edgedistill.runs import open_run
from edgedistill.steps import flow
from edgedistill.tasks.image_classification.models import signature
from edgedistill.tasks.image_classification.preprocessed import Preprocessed
from edgedistill.verify import judge
from edgedistill.verify.parity import FLOAT_LIMITS, float_parity
from edgedistill.verify.scoring import Scorer

NEEDS = backend("executorch").delegates["vulkan"].needs
CORE_ML, VULKAN = ArtifactSpec("executorch", "fp16", delegate="coreml"), ArtifactSpec("executorch", "int8", delegate="vulkan")


class Net(nn.Module):
    """A classifier of 32-pixel images with the kinds of convolution that matter here."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 8, 3, 2, 1, groups=8)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.depthwise(torch.relu(self.stem(x)))).mean((2, 3), keepdim=True).flatten(1))


class Int8(nn.Module):
    """`net` with the operators of a quantized state: int8 weights by channel, and each result on a scale."""

    def __init__(self, net: Preprocessed) -> None:
        super().__init__()
        self.bias = nn.ParameterList()
        for number, layer in enumerate((net.normalize, net.model.stem, net.model.depthwise, net.model.head)):
            weight = layer.weight.detach()
            scale = weight.abs().flatten(1).amax(1) / 127
            self.register_buffer(f"scale{number}", scale)
            self.register_buffer(f"weight{number}", (weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).round().to(torch.int8))
            self.register_buffer(f"zero{number}", torch.zeros(len(weight), dtype=torch.int64))
            self.bias.append(nn.Parameter(layer.bias.detach()))

    def _weight(self, number: int) -> torch.Tensor:
        held = [getattr(self, f"{name}{number}") for name in ("weight", "scale", "zero")]
        return torch.ops.quantized_decomposed.dequantize_per_channel(*held, 0, -127, 127, torch.int8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = _rounded(x, 1 / 255, -128)
        x = _rounded(functional.conv2d(x, self._weight(0), self.bias[0], groups=3), 2 / 255, 0)
        x = _rounded(torch.relu(functional.conv2d(x, self._weight(1), self.bias[1], 4, 1)), 2 / 255, -128)
        x = _rounded(torch.relu(functional.conv2d(x, self._weight(2), self.bias[2], 2, 1, 1, 8)), 2 / 255, -128)
        x = _rounded(x.mean((2, 3), keepdim=True), 2 / 255, -128)
        x = _rounded(x.flatten(1), 2 / 255, -128)
        return _rounded(functional.linear(x, self._weight(3), self.bias[3]), 2 / 255, 0)


def _rounded(x: torch.Tensor, scale: float, zero: int) -> torch.Tensor:
    held = torch.ops.quantized_decomposed.quantize_per_tensor(x, scale, zero, -128, 127, torch.int8)
    return torch.ops.quantized_decomposed.dequantize_per_tensor(held, scale, zero, -128, 127, torch.int8)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((24, 3, 32, 32), np.float32)


@pytest.fixture(scope="module")
def run(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs of a small network, float and int8, and a .pte for each delegate in `files`."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("delegates")
    net = Preprocessed(Net(), (0.5,) * 3, (0.5,) * 3).eval()
    save_program(net, signature(32, 10), folder / CORE_ML.program)
    np.save(folder / "student.npy", answers(net, images))
    save_program(Int8(net), signature(32, 10), folder / VULKAN.program)
    (folder / "files").mkdir()
    lower([CORE_ML, VULKAN], folder, folder / "files", folder / "log", {})
    return folder


@pytest.fixture(scope="module")
def files(run: Path) -> dict[str, Path]:
    return {str(spec.delegate): run / "files" / spec.name for spec in (CORE_ML, VULKAN)}


def answers(model: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(torch.from_numpy(image[None])).numpy() for image in images])


def test_the_program_in_a_core_ml_delegate_is_the_student(run: Path, files: dict[str, Path], images: np.ndarray, tmp_path: Path) -> None:
    expected = np.load(run / "student.npy")
    forward = plain(mil_delegate.load(str(files["coreml"]), 1, NAMES))
    found = np.concatenate([forward(image[None]) for image in images])
    parity = float_parity(found, expected, relative_limit=FLOAT_LIMITS["fp16"])
    assert parity.ok, parity
    assert 0 < parity.max_abs, "rounded to float16"
    # The last layer's weights with another sign are another program.
    held = torch.export.load(run / CORE_ML.program).state_dict["model.head.weight"].detach().numpy().astype(np.float16)
    data, wrong = files["coreml"].read_bytes(), tmp_path / "wrong.pte"
    assert data.count(held.tobytes()) == 1
    wrong.write_bytes(data.replace(held.tobytes(), (-held).tobytes()))
    other = plain(mil_delegate.load(str(wrong), 1, NAMES))
    changed = np.concatenate([other(image[None]) for image in images])
    assert not float_parity(changed, expected, relative_limit=FLOAT_LIMITS["fp16"]).ok


def test_inspect_names_the_delegate_its_bytes_and_what_is_in_it(files: dict[str, Path]) -> None:
    coreml, vulkan = inspect(files["coreml"]), inspect(files["vulkan"])
    for facts, delegate in ((coreml, "CoreMLBackend"), (vulkan, "VulkanBackend")):
        (part,) = facts.delegates
        assert part.id == delegate
        assert 0 < part.bytes < facts.bytes
        assert part.operators == sum(facts.operators.values()) > 4
        assert isinstance(facts.macs, int)
    assert "float16" in coreml.weights
    assert coreml.operators["conv"] == 3
    # Convolutions and the linear layer stay in 8 bits, and the normalisation counts as the dense convolution that it became.
    assert sum(count for name, count in vulkan.operators.items() if "q8ta" in name) == 4
    assert vulkan.macs == coreml.macs + (9 - 3) * 32 * 32


def test_a_payload_that_is_damaged_or_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    def payload(**node: Any) -> bytes:
        region = {"offset": 0, "size": 4}
        nodes = [{"children": {}, "dataRegion": region, "kind": 0, "name": "a"} | node, {"children": {"a": 0}, "kind": 1, "name": "b"}]
        return b"data" + json.dumps({"nodes": nodes}, separators=(",", ":")).encode()[::-1]

    for number, (node, said) in enumerate(
        [
            ({"name": "../a"}, "outside"),
            ({"name": ".."}, "outside"),
            ({"dataRegion": {"offset": 2, "size": 1 << 40}}, "expected at least"),
            ({}, "holds no"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(ValueError, match=said):
            coreml_delegate.unpack(payload(**node), folder)


def test_a_dense_convolution_is_the_same_program(run: Path, images: np.ndarray) -> None:
    """Vulkan has no int8 depthwise kernel for three channels: the weights between channels are zero, and no sum changes."""
    program = torch.export.load(run / VULKAN.program)
    dense = prepared(program, VULKAN)
    assert prepared(program, CORE_ML) is program

    def groups(of: Any) -> list[int]:
        return [n.args[6] if len(n.args) > 6 else 1 for n in of.graph.nodes if "conv2d" in str(n.target)]

    assert groups(program) == [3, 1, 8]
    assert groups(dense) == [1, 1, 8]
    before, after = (answers(of.module(check_guards=False), images) for of in (program, dense))
    assert np.array_equal(before, after)


def test_pairs_of_delegate_and_precision_exist_or_are_refused_with_what_to_take() -> None:
    every = {precision for own in backends().values() for precision in own.precisions}
    for delegate, facts in backend("executorch").delegates.items():
        exists = facts.precisions
        for precision in every:
            said = refusal("executorch", precision, delegate)
            assert (said is None) == (precision in exists)
            if said:
                taken = said.rpartition("; take ")[2]
                assert taken in exists or taken.removeprefix("format ") in backends()
    with pytest.raises(ValueError, match="Neural Engine computes in float16 only; take fp16"):
        TargetArtifact(format="executorch", precision="fp32", delegate="coreml")
    with pytest.raises(ValueError, match="no delegate vulkan in litert"):
        TargetArtifact(format="litert", precision="int8", delegate="vulkan")
    with pytest.raises(ValueError, match="take float32-nchw"):
        TargetArtifact(format="executorch", precision="fp16", delegate="coreml", input="uint8-nhwc")
    usual = TargetArtifact(format="executorch", precision="int8", delegate="xnnpack")
    assert usual == TargetArtifact(format="executorch", precision="int8"), "one file, however it is spelt"
    with pytest.raises(ValueError, match="each artifact once"):
        Target(name="x", description="x", minimum_os="x", artifacts=[usual, TargetArtifact(format="executorch", precision="int8")])
    specs = [a.spec for name in ("ios-executorch", "android-gpu") for a in load_target(name).artifacts]
    assert {s.name for s in specs} == {
        "student-int8.pte", "student-fp32.pte", "student-int8-coreml.pte", "student-fp16-coreml.pte",
        "student-int8-vulkan.pte", "student-fp16-vulkan.pte", "student-fp32-vulkan.pte",
    }  # fmt: skip
    assert [a.delegate for a in load_target("ios-executorch").budgeted] == [None], "a device's own kernels are not XNNPACK's"


def test_what_nothing_here_executes_is_unavailable_and_fails_nothing(
    tiny: Path, tmp_path: Path, capsys: Any, files: dict[str, Path]
) -> None:
    copied = tmp_path / "tiny"
    shutil.copytree(tiny / "runs" / "tiny", copied)
    shutil.copy(files["vulkan"], copied / VULKAN.path)
    lowered = Artifact(**VULKAN.model_dump(), bytes=1, sha256=sha256_file(files["vulkan"]), seconds=1.0)
    with open_run(copied) as state:
        scorer = Scorer(state, recorded(state.folder))
        assert artifact(state, lowered, scorer).parity.unavailable.startswith("not verified")
        state.step(Step(f"val-{VULKAN.name}"), lambda _: {"unavailable": not_here("executorch", "vulkan", files["vulkan"])})
        record = artifact(state, lowered, scorer)
    assert (record.executed_by, record.ok, record.parity.value) == ("unavailable", None, None)
    for found in (record.parity, record.score.val, record.latency_ms):
        assert found.unavailable == NEEDS
    assert judge.status_of([record]) == "ok"
    other = record.model_copy(update={"precision": "fp32", "delegate": None})
    record, _ = with_twins([record, other], scorer.difference, 0.003)
    assert record.quantization.twin == "student", "a file for XNNPACK is no twin of one for Vulkan"
    show_artifacts(Benched(run="r", status="ok", metric=scorer.task.metric, artifacts=[record], environment={}))
    said = " ".join(capsys.readouterr().out.split())
    assert "not run" in said
    assert f"{VULKAN.name} was lowered and not executed: {NEEDS}" in said
    write_bundle(tmp_path / "bundle", TARGET, contents([record], signature(32, 10), np.zeros((1, 3, 32, 32), np.float32), copied))
    (entry,) = json.loads((tmp_path / "bundle" / "manifest.json").read_text())["artifacts"]
    assert (entry["delegate"], entry["ok"], entry["unavailable"]) == ("vulkan", None, NEEDS)
    assert "outputs" not in entry["golden"]


def test_a_core_ml_delegate_in_parts_is_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Delegation(partitions=1, outside={}, operators={}, fallbacks=[], transposes={}, layers=[], macs=0, bytes=0)
    monkeypatch.setattr("edgedistill.backends.executorch.taken_out.delegation", lambda *_: report)
    assert not_here("executorch", None, Path("a.pte")) is None
    assert not_here("executorch", "coreml", Path("a.pte")) is None
    report.outside = {"max_pool2d": 2}
    assert "given 1 parts and 2 operator(s) are left" in str(not_here("executorch", "coreml", Path("a.pte")))


def test_a_file_alone_is_verified_or_reported_to_be_unavailable(tiny: Path, files: dict[str, Path]) -> None:
    measured = flow.bench_file(files["vulkan"])
    assert (measured.status, measured.latency_ms.unavailable) == ("ok", NEEDS)
    document = flow.verify_file(files["vulkan"], tiny / "runs" / "tiny")
    assert (document.ok, document.status, document.executed_by, document.precision) == (None, "ok", "unavailable", "int8")
    # It is executed, and is not the student of that run.
    document = flow.verify_file(files["coreml"], tiny / "runs" / "tiny")
    assert (document.ok, document.status, document.precision) == (False, "check_failed", "fp16"), document
    assert document.executed_by == "mil_float16"
