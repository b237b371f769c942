"""Models and checkpoints that come from the user's own code: what they raise is one message that says what to do."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.tasks.code import load_checkpoint, made_by
from edgedistill.tasks.image_classification.models import outputs_of, signature
from edgedistill.tasks.image_classification.preprocessed import Preprocessed
from edgedistill.tasks.modules import takes_several

CODE = """
import torch
from torch import nn

def broken():
    return nn.Linear(3, undefined)

def missing():
    import no_such_package

def text():
    return "a model"
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_own_models.py").write_text(CODE)
    (tmp_path / "my_own_mistake.py").write_text("x = 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    yield "my_own_models"
    for name in ("my_own_models", "my_own_mistake"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("my_own_models:broken", r"my_own_models:broken raised NameError in my_own_models.py, line 6: name 'undefined' is not defined"),
        ("my_own_models:missing", r"raised ModuleNotFoundError in my_own_models.py, line 9: No module named 'no_such_package'"),
        ("my_own_models:none", r"can't be loaded \(.*'none'.*\); expected a function in a module that Python finds"),
        ("my_own_models:text", r"gave str, expected a torch.nn.Module"),
        ("my_own_mistake:model", r"importing my_own_mistake raised ZeroDivisionError in my_own_mistake.py, line 1"),
        ("no_such_module_at_all:model", r"can't be loaded \(No module named 'no_such_module_at_all'\)"),
    ],
)
def test_what_the_function_of_the_user_raises_is_one_message(code: str, reference: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^student.torch: .*{said}"):
        made_by(reference, "student")


def test_a_checkpoint_without_versions_is_of_the_layers_that_read_it(tmp_path: Path) -> None:
    from torchvision.models import mnasnet0_5

    torch.manual_seed(0)
    trained = mnasnet0_5(num_classes=4).eval()
    save_file(trained.state_dict(), tmp_path / "mnasnet.safetensors")
    model = mnasnet0_5(num_classes=4).eval()
    load_checkpoint(model, tmp_path / "mnasnet.safetensors", "mnasnet0_5")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(image), trained(image))


def classifier(*layers: nn.Module) -> Preprocessed:
    return Preprocessed(nn.Sequential(*layers), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class View(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).view(1, 3)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([nn.Conv2d(1, 4, 3), nn.Flatten()], r"Its first convolution takes 1 channels, and images have 3; give samples as named arrays"),
        (
            [nn.Conv2d(3, 4, 3).half(), nn.Flatten()],
            r"Its weights are float16, and images are float32; let the function return model",
        ),
        ([nn.Flatten(), nn.Linear(27, 4)], r"Expected a model that takes RGB images of 8 pixels; give the size that it was trained with"),
        ([nn.Conv2d(3, 4, 3)], r"gave \(1, 4, 6, 6\) for an image float32 \[1, 3, 8, 8\], expected one tensor of logits \[1, classes\]"),
    ],
)
def test_why_a_model_takes_no_images_is_said(layers: list[nn.Module], said: str) -> None:
    with pytest.raises(UserError, match=said):
        outputs_of(classifier(*layers), "mine", 8, 0)


def test_a_model_of_one_image_is_taken_one_at_a_time() -> None:
    alone, several = classifier(View()), classifier(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for model, expected in ((alone, False), (several, True)):
        assert outputs_of(model, "mine", 8, 3) == 3
        assert takes_several(model, signature(8, 3).forward) == expected
