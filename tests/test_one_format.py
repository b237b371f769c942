"""What one format alone computes otherwise: each file gives the values of its program."""

from pathlib import Path

import pytest
import torch
from made_graphs import Net
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.backends.coreml.lower import lower as to_core_ml
from edgedistill.backends.coreml.mil import float16
from edgedistill.backends.onnx import adapter as onnx_runtime
from edgedistill.backends.onnx.lower import lower as to_onnx
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec


def signed(x: Tensor, y: Tensor) -> Signature:
    return Signature.of(*([TensorSpec(name=name, dtype="float32", shape=tuple(t.shape))] for name, t in (("x", x), ("y", y))))


@pytest.mark.filterwarnings("ignore:.*were assigned during export", "ignore:LSTM with projections")
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}, {"num_layers": 2}])
@pytest.mark.parametrize("projection", [0, 3])
def test_an_lstm_that_projects_its_state_runs_in_onnx_runtime(options: dict, projection: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = (
        Net(lambda s, x: s.layer(x)[0], layer=nn.LSTM(4, 5, batch_first=True, proj_size=projection, **options)).eval(),
        torch.rand(1, 6, 4),
    )
    expected, path = net(x), tmp_path / "net.onnx"
    signature = signed(x, expected)
    to_onnx(torch.export.export(net, (x,)), signature, path, ArtifactSpec("onnx", "fp32"), {})
    assert (b"LSTM" in path.read_bytes()) == (projection == 0)
    onnx_runtime.prepare(1)
    given = onnx_runtime.load(str(path), 1, signature.forward.model_dump(mode="json"))({"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(given["y"]), expected, rtol=1e-5, atol=1e-5)


def test_a_gate_of_local_maxima_compares_in_float32(tmp_path: Path) -> None:
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
    expected, path = net(x), tmp_path / "net.mlpackage"
    signature = signed(x, expected)
    to_core_ml(torch.export.export(net, (x,)), signature, path, ArtifactSpec("coreml", "fp16"), {"model": "net"})
    given = float16.load(str(path), 1, signature.forward.model_dump(mode="json"))({"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(given["y"]), expected, rtol=2e-3, atol=1e-3)


def _gated(x: Tensor) -> Tensor:
    return x * (x == F.max_pool2d(x, 3, 1, 1)).float()
