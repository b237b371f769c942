"""What one format alone computes otherwise: each file gives the values of its program."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
from made_graphs import Net
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.backends import backend, onnx
from edgedistill.backends.onnx import adapter
from edgedistill.measure import binaries
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec

ONNX = Path(onnx.__file__).parent


@pytest.mark.parametrize("path", [*sorted(ONNX.glob("glue/*/*")), Path(binaries.__file__)], ids=lambda path: path.name)
def test_what_opens_an_onnx_has_the_settings_of_the_adapter(path: Path) -> None:
    """Not each of their runtimes is here."""
    settings = re.findall(r'add_session_config_entry\("session\.(\w+)"', Path(adapter.__file__).read_text())
    assert len(settings) == 2
    assert [name for name in settings if name not in path.read_text()] == []


def computed(net: nn.Module, x: Tensor, spec: ArtifactSpec, folder: Path) -> tuple[Tensor, ...]:
    """The outputs of `net` in the file `spec` for the input `x`."""
    expected = net(x)
    outputs = expected if isinstance(expected, tuple) else (expected,)
    named = {f"y{place}": tuple(value.shape) for place, value in enumerate(outputs)}
    signature = Signature.of(
        [TensorSpec(name="x", dtype="float32", shape=tuple(x.shape))],
        [TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in named.items()],
    )
    path = folder / spec.name
    import_module(backend(spec.format).lower).lower(torch.export.export(net, (x,)), signature, path, spec, {"model": "net"})
    runtime = import_module(backend(spec.format).executor(float16=spec.precision == "fp16").module)
    runtime.prepare(1)
    given = runtime.load(str(path), 1, signature.forward.model_dump(mode="json"))({"x": x.numpy()})
    return tuple(torch.from_numpy(given[name]) for name in named)


@pytest.mark.filterwarnings("ignore:.*were assigned during export", "ignore:LSTM with projections")
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}, {"num_layers": 2}])
@pytest.mark.parametrize("projection", [0, 3])
def test_an_lstm_that_projects_its_state_runs_in_onnx_runtime(options: dict, projection: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = (
        Net(lambda s, x: s.layer(x)[0], layer=nn.LSTM(4, 5, batch_first=True, proj_size=projection, **options)).eval(),
        torch.rand(1, 6, 4),
    )
    spec = ArtifactSpec("onnx", "fp32")
    given = computed(net, x, spec, tmp_path)
    assert (b"LSTM" in (tmp_path / spec.name).read_bytes()) == (projection == 0)
    torch.testing.assert_close(given, (net(x),), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["coreml", "coreai"])
def test_a_gate_of_local_maxima_compares_in_float32(kind: str, tmp_path: Path) -> None:
    """Of two neighbours that differ by a quarter of a step of float16, one is the maximum."""
    layers = {"before": nn.Conv2d(2, 2, 1), "between": nn.Conv2d(2, 2, 1), "after": nn.Conv2d(2, 2, 1)}
    net = Net(lambda s, x: s.after(_gated(s.between(s.before(x)))), **layers).eval()
    with torch.no_grad():
        for layer in layers.values():
            layer.weight.copy_(torch.eye(2)[:, :, None, None])
            layer.bias.zero_()
        # Only the layer before the comparison tells the neighbours apart.
        net.between.weight[0, 1] = 2.0**-13
    x = torch.zeros(1, 2, 4, 4)
    x[0, 0, 1, 1:3] = 1.0
    x[0, 1, 1, 2] = -1.0
    given = computed(net, x, ArtifactSpec(kind, "fp16"), tmp_path)
    torch.testing.assert_close(given, (net(x),), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["executorch", "coreml", "onnx", "litert", "coreai"])
def test_one_value_may_be_two_outputs(kind: str, tmp_path: Path) -> None:
    net, x = Net(lambda s, x: (y := s.layer(x), y.clone(), x.clone()), layer=nn.Linear(4, 3)).eval(), torch.rand(1, 4)
    given = computed(net, x, ArtifactSpec(kind, backend(kind).twin), tmp_path)
    torch.testing.assert_close(given, net(x), rtol=2e-3, atol=1e-3)


def _gated(x: Tensor) -> Tensor:
    return x * (x == F.max_pool2d(x, 3, 1, 1)).float()
