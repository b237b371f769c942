"""The interface of tasks: the registry, intervals of scores, and modules by the names of a signature."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from edgedistill import plugins, tasks
from edgedistill.errors import UserError
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.intervals import of_difference, of_mean, paired_difference, wilson
from edgedistill.tasks.modules import ModuleTaps, forward, predict

PAIR = Signature.of(
    [TensorSpec(name="image", shape=(1, 4)), TensorSpec(name="sequence", shape=(1, 3, 2))],
    [TensorSpec(name="kind", shape=(1, 5)), TensorSpec(name="tags", shape=(1, 3, 7))],
)


class TwoHeads(nn.Module):
    """Two inputs and two outputs, one of them a sequence."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind, self.first, self.second = kind, nn.Linear(4, 5), nn.Linear(2, 7)

    def forward(self, image: torch.Tensor, sequence: torch.Tensor) -> object:
        found = {"kind": self.first(image), "tags": self.second(sequence)}
        return dict(reversed(found.items())) if self.kind is dict else self.kind(found.values())


def test_an_unknown_task_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"found the task 'telepathy', expected one of "):
        tasks.task("telepathy")


def test_an_entry_point_that_is_no_task_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("wrong", "collections:OrderedDict", tasks.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    tasks.tasks.cache_clear()
    with pytest.raises(UserError, match=r"registers type as edgedistill\.tasks, expected an instance"):
        tasks.tasks()
    tasks.tasks.cache_clear()


def test_the_interval_of_a_share_is_wilsons_and_of_numbers_students() -> None:
    right = np.array([True] * 80 + [False] * 20)
    assert of_mean(right) == wilson(80, 100)
    numbers = np.random.default_rng(0).normal(3, 2, 40)
    expected = scipy.stats.t.interval(0.95, 39, numbers.mean(), scipy.stats.sem(numbers))
    assert of_mean(numbers) == pytest.approx(expected)
    assert of_mean(np.array([1.0])) == (-np.inf, np.inf)


def test_the_interval_of_a_mean_score_ends_within_the_range_of_scores() -> None:
    nearly = np.array([0.9, 1.0, 1.0])
    low, high = of_mean(nearly)
    assert high > 1
    for name, lowest in (("causal-lm", 0.0), ("embedding", -1.0), ("image-classification", 0.0)):
        assert tasks.task(name).interval(nearly) == (low, 1.0)
        assert tasks.task(name).interval(np.array([0.5])) == (lowest, 1.0)
        assert tasks.task(name).interval(np.array([lowest, lowest, lowest + 0.1]))[0] == lowest
    # A fit has no lowest score.
    assert tasks.task("tensors").interval(np.array([0.5])) == (-np.inf, 1.0)


def test_the_interval_of_a_difference_is_paired() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(50) < 0.8, rng.random(50) < 0.7
    assert of_difference(a, b) == paired_difference(a, b)
    x, noise = rng.normal(0, 10, 50), rng.normal(0.5, 0.1, 50)
    difference, low, high = of_difference(x + noise, x)
    result = scipy.stats.ttest_rel(x + noise, x).confidence_interval(0.95)
    assert (difference, low, high) == pytest.approx((noise.mean(), result.low, result.high))
    with pytest.raises(ValueError, match="one length"):
        of_difference(x, x[:3])


@pytest.mark.parametrize("kind", [tuple, list, dict])
def test_outputs_have_the_names_of_the_signature(kind: type) -> None:
    module = TwoHeads(kind)
    inputs = {"sequence": torch.rand(2, 3, 2), "image": torch.rand(2, 4)}
    found = forward(module, inputs, PAIR.forward)
    assert list(found) == ["kind", "tags"]
    assert torch.equal(found["kind"], module.first(inputs["image"]))
    assert torch.equal(found["tags"], module.second(inputs["sequence"]))
    together = predict(module, iter([inputs, inputs]), PAIR.forward)
    assert together["tags"].shape == (4, 3, 7)
    assert np.array_equal(together["kind"][2:], found["kind"].detach().numpy())


def test_other_outputs_than_those_of_the_signature_are_errors() -> None:
    inputs = {"image": torch.rand(2, 4), "sequence": torch.rand(2, 3, 2)}
    with pytest.raises(UserError, match="the model gives 2 outputs, expected kind"):
        forward(TwoHeads(tuple), inputs, Signature.of(PAIR.inputs, PAIR.outputs[:1]).forward)
    more = [*PAIR.outputs, TensorSpec(name="box", shape=(1, 4))]
    with pytest.raises(UserError, match="the model gives tags, kind, expected box too"):
        forward(TwoHeads(dict), inputs, Signature.of(PAIR.inputs, more).forward)


def test_taps_give_features_until_they_are_removed() -> None:
    module = TwoHeads(tuple)
    taps = ModuleTaps(module, PAIR, {"kind", "features:second"}, inside=module)
    inputs = {"image": torch.rand(2, 4), "sequence": torch.rand(2, 3, 2)}
    found = taps(inputs)
    assert set(found) == {"kind", "tags", "features:second"}
    assert torch.equal(found["features:second"], found["tags"])
    taps.remove()
    assert "features:second" not in taps(inputs)
    with pytest.raises(UserError, match=r"no module 'secnd'; did you mean second\?"):
        ModuleTaps(module, PAIR, {"features:secnd"}, inside=module)
    with pytest.raises(UserError, match="found no signal 'mood', expected kind, tags or features:MODULE"):
        ModuleTaps(module, PAIR, {"mood"}, inside=module)
