"""How many threads training takes: the fastest by timing, within what a container may use, and the same after an interruption."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_engine import LABELS, Plain, lesson

from edgedistill import cores, threads
from edgedistill.distill import checkpoint
from edgedistill.distill.lesson import Stage
from edgedistill.distill.trainer import Options, fit
from edgedistill.recipe.loading import load_recipe
from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses
from edgedistill.teach.signals import TeacherSignals


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of two cores, on which nothing fixes the number of threads."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "available", lambda: 2)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("seconds", "beside", "expected"),
    [
        ({1: 0.02, 2: 0.01}, 0.0, 2),
        ({1: 0.01, 2: 0.02}, 0.0, 1),
        ({1: 0.02, 2: 0.0195}, 0.0, 1),
        ({1: 0.001, 2: 0.05}, 0.0, 1),
        # A second thread is worth less than the process that makes batches meanwhile.
        ({1: 0.02, 2: 0.012}, 0.02, 1),
    ],
)
def test_the_fastest_number_is_taken_and_of_equal_ones_the_smallest(
    seconds: dict[int, float], beside: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = torch.get_num_threads(), []
    # Time passes as the probe says.
    now = iter(lambda: sum(calls), None)
    monkeypatch.setattr(threads.time, "monotonic", lambda: next(now))
    probe = lambda: calls.append(seconds[torch.get_num_threads()])  # noqa: E731
    assert threads.chosen("training", probe, beside_s=beside) == expected
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("two_cores")
def test_a_number_that_is_asked_for_or_set_for_openmp_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        pytest.fail("it was timed")

    assert threads.chosen("training", never, asked=7) == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads.chosen("training", never) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr(cores, "available", lambda: 1)
    assert threads.chosen("training", never) == 1


def test_candidates_go_up_to_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, expected in ((1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])):
        monkeypatch.setattr(cores, "available", lambda count=count: count)
        assert threads.candidates() == expected


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/box", {"box/cpu.max": "150000 100000", "cpu.max": "max 100000"}, 1.5),
        ("0::/box/inner", {"box/cpu.max": "100000 100000", "box/inner/cpu.max": "400000 100000"}, 1.0),
        # In a container the path is that of the host, and the limit is at the mount.
        ("0::/host/path", {"cpu.max": "50000 100000"}, 0.5),
        (
            "4:memory:/m\n2:cpu,cpuacct:/box",
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "100000", "cpu,cpuacct/box/cpu.cfs_period_us": "50000"},
            2.0,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/box", {"box/cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "nonsense"}, None),
        ("0::/", {}, None),
    ],
)
def test_the_quota_of_a_container_is_read(own: str, files: dict[str, str], expected: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / "cg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cg" / name).write_text(text + "\n")
    (tmp_path / "own").write_text(own + "\n")
    assert cores.quota(tmp_path / "cg", tmp_path / "own") == expected


def test_cores_are_those_that_the_process_is_bound_to_within_its_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 4}, raising=False)
    for limit, expected in ((None, 3), (1.5, 2), (0.2, 1), (9.0, 3)):
        monkeypatch.setattr(cores, "quota", lambda limit=limit: limit)
        assert cores.available() == expected


@pytest.mark.usefixtures("two_cores")
def test_a_training_that_goes_on_keeps_the_number_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(path: Path, stop: float = 2.0) -> tuple[Plain, list]:
        def at(fraction: float) -> None:
            if fraction >= stop:
                raise KeyboardInterrupt

        module = Plain()
        return module, fit(module, lesson(), LABELS, name="student", path=path, options=Options(threads="auto"), at=at)

    # The other way round two threads would wait for each other on a busy machine.
    monkeypatch.setattr(threads, "chosen", lambda *_, **__: 1)
    whole, _ = train(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "half.safetensors", stop=0.6)
    assert checkpoint.restore(tmp_path / "half.safetensors", {"module": Plain()})["threads"] == 1
    monkeypatch.setattr(threads, "chosen", lambda *_, **__: 2)
    resumed, curve = train(tmp_path / "half.safetensors")
    assert [record["threads"] for record in curve] == [1, 1]
    assert torch.equal(whole.net[1].weight, resumed.net[1].weight)


def test_a_quota_of_one_core_means_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available", lambda: 1)
    with threads.using(2):
        path = tmp_path / "x.safetensors"
        curve = fit(Plain(), lesson(), LABELS, name="student", path=path, options=Options(threads="auto"))
    assert {record["threads"] for record in curve} == {1}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "7"}),
    ],
)
def test_threads_wait_shortly_unless_the_environment_says_how(before: dict[str, str], after: dict[str, str]) -> None:
    threads.wait_shortly(before)
    assert before == after


@pytest.mark.usefixtures("two_cores")
def test_timing_the_threads_changes_nothing_of_a_training(tmp_path: Path) -> None:
    class Normed(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.5), *self.net)

    trained = []
    for name, count in (("auto", "auto"), ("fixed", None)):
        module = Normed()
        curve = fit(module, lesson(), LABELS, name="student", path=tmp_path / f"{name}.safetensors", options=Options(threads=count))  # type: ignore[arg-type]
        trained.append([value.clone() for value in module.state_dict().values()] + [torch.tensor(r["loss"]) for r in curve])
        torch.set_num_threads(curve[0]["threads"])
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True))


def test_a_recipe_or_an_option_fixes_the_number(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: r\ntargets: [linux]\n")
    assert load_recipe(tmp_path / "r.yaml").recipe.threads is None
    assert load_recipe(tmp_path / "r.yaml", ["threads=3"]).recipe.threads == 3


@pytest.mark.usefixtures("two_cores")
def test_threads_of_a_training_with_features_are_timed_on_taps_of_their_own(tmp_path: Path) -> None:
    from edgedistill.tasks.image_classification.models import build_model
    from edgedistill.tasks.image_classification.preprocessed import Preprocessed

    torch.set_num_threads(1)
    taught = lesson()
    watched = ClassificationLosses.model_validate({"ce": {}, "rkd": {}})
    assert any(loss.watches for loss in watched.used().values())
    module = Preprocessed(build_model("test_resnet", 2), (0.5,) * 3, (0.5,) * 3)
    features = {name: torch.ones(32, 8) for name in ("embedding",)}
    signals = TeacherSignals([], [lambda inputs: {name: f[: len(inputs["image"])] for name, f in features.items()}], None)  # type: ignore[list-item]
    stage = Stage("align", 1, 1e-3, watched, online=True)
    options = Options(threads="auto")
    curve = fit(module, replace(taught, signals=signals), [stage], name="x", path=tmp_path / "x.safetensors", options=options)
    assert curve[0]["threads"] in (1, 2)
