"""Several named inputs and outputs of any type and shape, in each runtime and through the runner's protocol."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from edgedistill.backends import backend
from edgedistill.backends.inspect import inspect
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import local
from edgedistill.measure.adapters import executor
from edgedistill.measure.benchfile import bench, method_of, write_random_samples
from edgedistill.records import ArtifactSpec
from edgedistill.signature import MethodSignature, Signature, TensorSpec

SAMPLES = 3
IMAGE = TensorSpec(name="image", shape=(1, 1, 28, 20), meaning="image")
TOKENS = TensorSpec(name="tokens", dtype="int64", shape=(1, 6), meaning="tokens")
OUTPUTS = (TensorSpec(name="scores", shape=(1, 4)), TensorSpec(name="places", shape=(1, 6, 8)))
METHOD = MethodSignature(inputs=(IMAGE, TOKENS), outputs=OUTPUTS)


class Pair(nn.Module):
    """An image of one channel, wider than high, and six tokens: scores, and a vector at each token."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table, self.head = nn.Conv2d(1, 8, 3, 2), nn.Embedding(10, 8), nn.Linear(8, 4)

    def forward(self, image: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen, words = torch.relu(self.conv(image)).mean((2, 3)), self.table(tokens)
        return self.head(seen + words.mean(1)), words + seen[:, None]


def as_executorch(program: Any, module: nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    path.write_bytes(to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)


def as_litert(program: Any, module: nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    import litert_torch

    litert_torch.convert(module, example).export(str(path))


def as_coreml(program: Any, module: nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    from edgedistill.backends.coreml.lower import import_coremltools

    ct = import_coremltools()
    outputs = [ct.TensorType(name=spec.name, dtype=np.float32) for spec in OUTPUTS]
    precision = ct.precision.FLOAT32
    target = ct.target.iOS17
    made = ct.convert(program.run_decompositions({}), outputs=outputs, minimum_deployment_target=target, compute_precision=precision)
    made.save(str(path))


def as_onnx(program: Any, module: nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    names = {"input_names": ["image", "tokens"], "output_names": ["scores", "places"]}
    torch.onnx.export(program, dynamo=True, opset_version=18, external_data=False, verbose=False, **names).save(str(path))


def as_coreai(program: Any, module: nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    from edgedistill.backends.coreai.lower import lower

    lower(program, Signature.of(METHOD.inputs, METHOD.outputs), path, ArtifactSpec("coreai", "fp32"), {"model": "pair"})


MAKERS = {"executorch": as_executorch, "litert": as_litert, "coreml": as_coreml, "coreai": as_coreai, "onnx": as_onnx}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Path, dict[str, np.ndarray]]:
    """The module in each format, a folder of samples, and the outputs of PyTorch, [N, ...] by name."""
    torch.manual_seed(0)
    folder, module = tmp_path_factory.mktemp("pair"), Pair().eval()
    images, tokens = torch.rand(SAMPLES, 1, 28, 20), torch.randint(0, 10, (SAMPLES, 6))
    (folder / "samples").mkdir()
    np.save(folder / "samples" / "image.npy", images.numpy())
    np.save(folder / "samples" / "tokens.npy", tokens.numpy())
    example = (images[:1], tokens[:1])
    program = torch.export.export(module, example)
    paths = {name: folder / f"pair{backend(name).suffix}" for name in MAKERS}
    for name, make in MAKERS.items():
        make(program, module, example, paths[name])
    with torch.no_grad():
        scores, places = module(images, tokens)
    return paths, folder / "samples", {"scores": scores.numpy(), "places": places.numpy()}


def execute(form: str, path: Path, samples: Path, method: MethodSignature, folder: Path, **more: Any) -> dict[str, np.ndarray]:
    options: dict[str, Any] = {"threads": 1, "bench": None, "log": folder / "log.txt", "timeout_s": 120, **more}
    done = local.execute(executor(form).module, path, samples, signature=method, outputs=folder, **options)
    assert done.outputs is not None
    return {name: np.load(output) for name, output in done.outputs.items()}


@pytest.mark.parametrize("form", MAKERS)
def test_each_runtime_takes_and_gives_named_arrays(files: Any, form: str, tmp_path: Path) -> None:
    paths, samples, expected = files
    found = execute(form, paths[form], samples, METHOD, tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("*.npy"))] == ["places.npy", "scores.npy"]
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        assert np.ptp(array, axis=0).min() > 1e-3, "outputs that hardly depend on the sample prove nothing"
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", MAKERS)
def test_inspect_gives_the_signature_in_one_shape(files: Any, form: str) -> None:
    signature = inspect(files[0][form]).signature
    # The converters of the others make int32 of int64.
    integers = "int64" if form in ("executorch", "onnx") else "int32"
    assert [(spec.dtype, spec.shape) for spec in signature.inputs] == [("float32", (1, 1, 28, 20)), (integers, (1, 6))]
    assert [(spec.dtype, spec.shape) for spec in signature.outputs] == [("float32", (1, 4)), ("float32", (1, 6, 8))]
    if form in ("coreml", "coreai", "onnx"):
        assert [spec.name for spec in (*signature.inputs, *signature.outputs)] == ["image", "tokens", "scores", "places"]


@pytest.mark.parametrize("form", [name for name in MAKERS if backend(name).measured_here])
def test_a_file_alone_is_measured_with_all_its_inputs(files: Any, form: str) -> None:
    document = bench(files[0][form]).model_dump(mode="json")
    assert document["status"] == "ok", document
    assert [port["shape"] for port in document["inputs"]] == [[1, 1, 28, 20], [1, 6]]
    assert 0 < document["latency_ms"]["p50"] < 100


def test_names_decide_where_a_file_has_them(files: Any, tmp_path: Path) -> None:
    paths, samples, expected = files
    turned = MethodSignature(inputs=(TOKENS, IMAGE), outputs=OUTPUTS[::-1])
    found = execute("onnx", paths["onnx"], samples, turned, tmp_path)
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", MAKERS)
def test_a_file_with_other_inputs_is_refused(files: Any, form: str, tmp_path: Path) -> None:
    paths, samples, _ = files
    with pytest.raises(DeviceFailed, match="did not run with"):
        execute(form, paths[form], samples, METHOD.model_copy(update={"inputs": (IMAGE,)}), tmp_path)


def identity(path: Path, kinds: dict[str, int], shape: list[Any]) -> Path:
    """An ONNX file that gives back each of its inputs, by a name that begins with `of_`."""
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info(f"of_{name}", kind, shape) for name, kind in kinds.items()]
    nodes = [helper.make_node("Identity", [name], [f"of_{name}"]) for name in kinds]
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opset, ir_version=8), path)
    return path


KINDS = {
    "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32, "int64": TensorProto.INT64, "bool": TensorProto.BOOL,
}  # fmt: skip


@pytest.mark.parametrize("shape", [[], [3], [1, 3], [2, 3], [1, 2, 3, 2, 2]], ids=str)
def test_types_and_ranks_go_through_unchanged(tmp_path: Path, shape: list[int]) -> None:
    path = identity(tmp_path / "same.onnx", {f"a_{name}": kind for name, kind in KINDS.items()}, shape)
    method = method_of(path, inspect(path))
    assert {spec.name: spec.dtype for spec in method.inputs} == {f"a_{name}": name for name in KINDS}
    rows = shape[1:] if shape[:1] == [1] else shape
    numbers = np.random.default_rng(0).integers(-9, 9, (SAMPLES, *rows))
    for name in KINDS:
        np.save(tmp_path / f"a_{name}.npy", numbers.astype(name))
    (tmp_path / "out").mkdir()
    found = execute("onnx", path, tmp_path, method, tmp_path / "out")
    for name in KINDS:
        assert found[f"of_a_{name}"].dtype == name
        np.testing.assert_array_equal(found[f"of_a_{name}"], numbers.astype(name))


def test_a_size_that_varies_is_that_of_the_samples_where_the_runtime_takes_it(tmp_path: Path) -> None:
    path = identity(tmp_path / "long.onnx", {"x": TensorProto.FLOAT}, [1, "time", 2])
    method = inspect(path).signature.forward
    assert method.inputs[0].shape == (1, "time", 2)
    for time in (4, 7):
        np.save(tmp_path / "x.npy", np.ones((SAMPLES, time, 2), np.float32))
        (tmp_path / str(time)).mkdir()
        assert execute("onnx", path, tmp_path, method, tmp_path / str(time))["of_x"].shape == (SAMPLES, time, 2)
    with pytest.raises(UserError, match="expected sizes for time"):
        method_of(path, inspect(path))


def test_litert_resizes_what_varies(files: Any, tmp_path: Path) -> None:
    import litert_torch
    from ai_edge_litert import schema_py_generated as schema

    from edgedistill.backends.litert.io import packed

    litert_torch.convert(nn.ReLU(), (torch.zeros(1, 4, 2),)).export(str(tmp_path / "fixed.tflite"))
    data = (tmp_path / "fixed.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(data)
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = [1, -1, 2]
    (tmp_path / "any.tflite").write_bytes(packed(model, len(data)))
    method = MethodSignature(inputs=(TensorSpec(name="x", shape=(1, "time", 2)),), outputs=(TensorSpec(name="y", shape=(1, "time", 2)),))
    values = np.random.default_rng(0).standard_normal((SAMPLES, 7, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    np.testing.assert_array_equal(execute("litert", tmp_path / "any.tflite", tmp_path, method, tmp_path)["y"], np.maximum(values, 0))


def test_a_size_that_the_file_does_not_take_is_told(files: Any, tmp_path: Path) -> None:
    paths, samples, _ = files
    np.save(tmp_path / "image.npy", np.zeros((SAMPLES, 1, 40, 20), np.float32))
    np.save(tmp_path / "tokens.npy", np.load(samples / "tokens.npy"))
    varying = METHOD.model_copy(update={"inputs": (IMAGE.model_copy(update={"shape": (1, 1, "height", 20)}), TOKENS)})
    with pytest.raises(DeviceFailed, match=r"pair\.pte did not run on image float32\[1,1,40,20\], tokens int64\[1,6\], and may be"):
        execute("executorch", paths["executorch"], tmp_path, varying, tmp_path)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((SAMPLES, 1, 28, 28), np.float32), r"expected float32\[N,1,28,20\] with N > 0 for the input image, found float32"),
        (np.zeros((SAMPLES, 1, 28, 20), np.float64), "found float64"),
        (np.zeros((2, 1, 28, 20), np.float32), r"found \[2, 3\] samples for the inputs"),
    ],
    ids=["shape", "type", "count"],
)
def test_samples_that_are_not_the_inputs_are_told(files: Any, array: np.ndarray, said: str, tmp_path: Path) -> None:
    paths, samples, _ = files
    np.save(tmp_path / "image.npy", array)
    with pytest.raises(DeviceFailed, match=said):
        execute("onnx", paths["onnx"], {"image": tmp_path / "image.npy", "tokens": samples / "tokens.npy"}, METHOD, tmp_path)  # type: ignore[arg-type]


def test_random_samples_are_what_a_method_takes(tmp_path: Path) -> None:
    mask = TensorSpec(name="mask", dtype="bool", shape=(2, 3))
    write_random_samples(tmp_path, MethodSignature(inputs=(IMAGE, TOKENS, mask), outputs=OUTPUTS), 5)
    found = {name: np.load(tmp_path / f"{name}.npy") for name in ("image", "tokens", "mask")}
    assert {name: (str(array.dtype), array.shape) for name, array in found.items()} == {
        "image": ("float32", (5, 1, 28, 20)), "tokens": ("int64", (5, 6)), "mask": ("bool", (5, 2, 3)),
    }  # fmt: skip
    assert found["image"].min() >= 0
    assert found["image"].max() <= 1
