"""The adapter for Core ML on a Mac, with a stand-in for what coremltools documents of its model class: no proof that it runs there."""

import platform
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import NAMES, plain

from edgedistill.backends.coreml import adapter as coreml
from edgedistill.backends.coreml import facts
from edgedistill.measure.adapters import executor_of
from edgedistill.records import ArtifactSpec


def stand_in(monkeypatch: pytest.MonkeyPatch, kind: str, *, states: int = 0) -> list[tuple[dict[str, Any], object]]:
    """Puts a model of one input of `kind` in Core ML's place; returns what it is asked to predict, each time with its state."""
    import coremltools

    port = SimpleNamespace(name="x", type=SimpleNamespace(WhichOneof=lambda _: kind))
    description = SimpleNamespace(input=[port], output=[SimpleNamespace(name="logits")], state=states * ["kept"])
    asked: list[tuple[dict[str, Any], object]] = []

    class Model:
        def __init__(self, path: str, compute_units: Any) -> None:
            assert (path, compute_units) == ("a.mlpackage", coremltools.ComputeUnit.ALL)

        def get_spec(self) -> Any:
            return SimpleNamespace(description=description)

        def make_state(self) -> object:
            assert states, "Core ML refuses it where there is no state"
            return object()

        def predict(self, inputs: dict[str, Any], state: object = None) -> dict[str, np.ndarray]:
            asked.append((inputs, state))
            return {"logits": np.array([[1, 2]], np.float16)}

    monkeypatch.setattr(coremltools.models, "MLModel", Model)
    return asked


@pytest.mark.parametrize("kind", ["multiArrayType", "imageType"])
def test_an_image_is_given_as_the_file_takes_it(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    asked = stand_in(monkeypatch, kind)
    forward = plain(coreml.load("a.mlpackage", 1, NAMES))
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    logits = forward(pixels if kind == "imageType" else pixels.astype(np.float32))
    assert logits.dtype == np.float32
    assert logits.tolist() == [[1, 2]]
    inputs, state = asked[0]
    assert (np.asarray(inputs["x"]) == (pixels[0] if kind == "imageType" else pixels)).all()
    assert state is None


def test_a_state_is_made_once_and_given_to_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stand_in(monkeypatch, "multiArrayType", states=2)
    first, second = (plain(coreml.load("a.mlpackage", 1, NAMES)) for _ in range(2))
    for forward in (first, first, second):
        forward(np.zeros((1, 2), np.float32))
    states = [state for _, state in asked]
    assert states[0] is states[1] is not None
    assert states[2] not in (None, states[0])


def test_core_ml_executes_its_packages_on_a_mac_only(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [ArtifactSpec("coreml", "int8"), ArtifactSpec("coreml", "fp16")]
    if platform.system() != "Darwin":
        mil = "edgedistill.backends.coreml.mil"
        assert [executor_of(s).module for s in specs] == [f"{mil}.float64", f"{mil}.float16"]
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    code = runpy.run_path(str(Path(facts.__file__)))
    assert [adapter.module for adapter in code["COREML"].adapters] == ["edgedistill.backends.coreml.adapter"]
    assert executor_of(ArtifactSpec("onnx", "int8")).module == "edgedistill.backends.onnx.adapter"
