"""Students whose activations int8 runtimes cannot fuse: told, and rewritten where the recipe says so."""

import pytest
import torch
from torch import nn

from edgedistill.errors import UserError
from edgedistill.tasks.image_classification.activations import unfused
from edgedistill.tasks.image_classification.models import build_model


def test_hard_activations_and_gates_are_rewritten() -> None:
    before = build_model("mobilenetv3_small_050", 3)
    found = unfused(before)
    assert set(found) == {"Hardswish", "Hardsigmoid"}
    after = build_model("mobilenetv3_small_050", 3, activation="relu6")
    assert unfused(after) == {}
    count = sum(isinstance(m, nn.ReLU6) for m in after.modules()), sum(isinstance(m, nn.Sigmoid) for m in after.modules())
    assert count == (found["Hardswish"], found["Hardsigmoid"])
    assert after(torch.rand(1, 3, 32, 32)).shape == (1, 3)
    assert before.state_dict().keys() == after.state_dict().keys()


def test_a_student_of_relus_is_left_alone() -> None:
    assert unfused(build_model("mobilenetv4_conv_small_035", 3)) == {}


def test_width_and_depth_by_arguments_of_the_timm_model() -> None:
    small = build_model("resnet18", 3, arguments={"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128]})
    assert sum(p.numel() for p in small.parameters()) < 1e6
    with pytest.raises(UserError, match=r"timm's resnet18 does not take the arguments \{'widht': 2\}"):
        build_model("resnet18", 3, arguments={"widht": 2})
