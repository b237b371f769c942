"""How a training is done: parts of a batch, several processes, precision, the mean of the weights, early stop, trackers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from edgedistill.distill import stages
from edgedistill.distill.lesson import Lesson, Stage
from edgedistill.distill.trainer import Options, fit
from edgedistill.errors import UserError
from edgedistill.recipe.schema import Recipe
from edgedistill.tasks.image_classification.dataset import ImageDataset
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.models import signature
from edgedistill.tasks.image_classification.recipe.data import Augment
from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses
from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION


def lesson(batch_size: int = 8) -> Lesson:
    images = np.random.default_rng(0).integers(0, 255, (40, 3, 32, 32), dtype=np.uint8)
    indices = {"train": np.arange(32), "val": np.arange(32, 40), "holdout": np.arange(0)}
    data = ImageSet("test", ["a", "b"], images, np.arange(40) % 2, indices, "d", {})
    return Lesson(IMAGE_CLASSIFICATION, signature(32, 2), ImageDataset(data, Augment(), 0), 2, batch_size, 0)


@pytest.mark.parametrize(("schedule", "parts"), [({}, [(0, 0.4), (0.4, 1)]), ({"schedule": "per-stage"}, [(0, 1), (0, 1)])])
def test_the_stages_of_student_and_control_share_a_schedule_unless_the_recipe_says_otherwise(
    schedule: dict[str, str], parts: list[tuple[float, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = [{"name": "align", "epochs": 2}, {"name": "finetune", "epochs": 3}, {"name": "qat"}]
    recipe = Recipe.model_validate({"name": "x", "student": {"model": "test_resnet"}, "distill": {"stages": plan, **schedule}})
    trained: list[list[Stage]] = []
    monkeypatch.setattr(stages, "fit", lambda module, lesson, plan, **options: trained.append(plan) or [])
    for distilled in (True, False):
        stages.train_float(recipe, lesson(), tmp_path, distilled=distilled)
    assert [[stage.part for stage in plan] for plan in trained] == [parts, parts]


class Plain(torch.nn.Module):
    """Without batch norm, whose statistics are those of a part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)


LABELS = [Stage("finetune", 2, 1e-2, ClassificationLosses.model_validate({"ce": {}}))]


def test_a_batch_in_parts_learns_what_a_whole_one_does(tmp_path: Path) -> None:
    whole, parts = Plain(), Plain()
    curves = [
        fit(module, lesson(), LABELS, name="student", path=tmp_path / f"{n}.safetensors", options=Options(accumulate=n))
        for n, module in ((1, whole), (3, parts))
    ]
    assert curves[0][1]["loss"] == pytest.approx(curves[1][1]["loss"], rel=1e-4)
    assert torch.allclose(whole.net[1].weight, parts.net[1].weight, atol=1e-5)


def launch(*command: object, cwd: Path, count: int = 2) -> subprocess.CompletedProcess[str]:
    """`command` of Python in `count` processes that train together."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count, *command]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run([str(x) for x in start], cwd=cwd, capture_output=True, text=True, timeout=600, env=environment)


TOGETHER = """
import torch
from pathlib import Path
from test_engine import LABELS, Options, Plain, fit, lesson
from edgedistill.processes import is_main
curve = fit(Plain(), lesson(9), LABELS, name="student", path=Path("two.safetensors"), options=Options(accumulate=2))
if is_main():
    print(curve[-1]["loss"], torch.distributed.get_world_size())
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    # Of a batch of 9 one has 5 images and the other 4, in parts of 3, 2, 2 and 2.
    curve = fit(Plain(), lesson(9), LABELS, name="student", path=tmp_path / "one.safetensors", options=Options())
    (tmp_path / "together.py").write_text(TOGETHER)
    done = launch("together.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    loss, count = done.stdout.split()
    assert (float(loss), int(count)) == (pytest.approx(curve[-1]["loss"], rel=1e-4), 2)
    one, two = (load_file(tmp_path / f"{name}.safetensors")["module.net.1.weight"] for name in ("one", "two"))
    assert torch.allclose(one, two, atol=1e-5)


@pytest.mark.slow
def test_a_recipe_in_two_processes_gives_one_run(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text("""
name: tiny
data: {image_size: 32, views: 1}
teacher: {model: test_resnet, train: {epochs: 1}}
student: {model: test_resnet}
distill:
  stages:
    - {name: hints, epochs: 1, losses: {hint: {}}}
    - {name: align, epochs: 1, losses: {kd: {}}}
    - {name: qat, epochs: 1}
""")
    done = launch("-m", "edgedistill", "distill", "tiny.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert [record["stage"] for record in summary["curves"]["student"]] == ["hints", "align", "qat"]


def test_more_processes_than_a_batch_has_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"batches of 8 for 1 processes in 8 parts, expected 2 samples or more"):
        fit(Plain(), lesson(), LABELS, name="student", path=tmp_path / "x.safetensors", options=Options(accumulate=8))


def test_the_mean_of_the_weights_is_kept_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    def train(path: Path, ema: float | None, stop: float = 2.0) -> torch.Tensor:
        def at(fraction: float) -> None:
            if fraction >= stop:
                raise KeyboardInterrupt

        module = Plain()
        fit(module, lesson(), LABELS, name="student", path=path, options=Options(ema=ema), at=at)
        return module.net[1].weight.detach()

    last, mean = train(tmp_path / "last.safetensors", None), train(tmp_path / "mean.safetensors", 0.9)
    assert not torch.equal(last, mean)
    with safe_open(tmp_path / "mean.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("module.net.1.weight"), last)
        assert torch.equal(file.get_tensor("averaged.net.1.weight"), mean)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "half.safetensors", 0.9, stop=0.6)
    assert torch.equal(train(tmp_path / "half.safetensors", 0.9), mean)


def test_a_stage_ends_early_with_the_weights_of_its_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [Stage(name, 6, 1e-2, ClassificationLosses.model_validate({"ce": {}})) for name in ("align", "finetune")]
    told = [0.5, 0.9, 0.7, 0.9, 0.2, 0.3, 0.3, 0.3]
    weights: list[torch.Tensor] = []

    def accuracy(_: Lesson, module: torch.nn.Module) -> float:
        weights.append(module.net[1].weight.detach().clone())  # type: ignore[index, union-attr]
        return told[len(weights) - 1]

    monkeypatch.setattr(Lesson, "score", accuracy)
    module, path = Plain(), tmp_path / "x.safetensors"

    def train(module: Plain, at: object = None) -> list[dict]:
        return fit(module, lesson(), stages, name="student", path=path, options=Options(patience=2), at=at)  # type: ignore[arg-type]

    def stop(fraction: float) -> None:
        if len(weights) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Plain(), stop)
    # The second stage begins where the first was best, and no worse when it was interrupted there.
    assert torch.equal(load_file(path)["module.net.1.weight"], weights[1])
    curve = train(module)
    assert [record["stage"] for record in curve] == ["align"] * 4 + ["finetune"] * 4
    assert [record["epoch"] for record in curve] == list(range(1, 9))
    assert torch.equal(module.net[1].weight, weights[5])


def test_bf16_is_near_fp32_and_a_training_that_must_be_exact_is(tmp_path: Path) -> None:
    def train(name: str, **options: object) -> torch.Tensor:
        module = Plain()
        fit(module, lesson(), LABELS, name="student", path=tmp_path / name, options=Options(**options))  # type: ignore[arg-type]
        return module.net[1].weight.detach()

    full, mixed, exact = train("a"), train("b", precision="bf16"), train("c", precision="bf16", exact=True)
    assert mixed.dtype == torch.float32
    assert not torch.equal(full, mixed)
    assert torch.allclose(full, mixed, atol=0.02)
    assert torch.equal(full, exact)


def test_curves_go_to_json_lines_and_to_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run" / "student"
    curve = fit(Plain(), lesson(), LABELS, name="student", path=folder / "x.safetensors", options=Options(trackers=("tensorboard",)))
    assert [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()] == curve
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "student" / "edgedistill")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(r["epoch"], pytest.approx(r["loss"])) for r in curve]
    assert {"val_accuracy", "lr", "losses/ce"} <= set(events.Tags()["scalars"])


def test_a_tracker_that_is_not_installed_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wandb is not installed; pip install wandb"):
        fit(Plain(), lesson(), LABELS, name="student", path=tmp_path / "x", options=Options(trackers=("wandb",)))
