"""Architectures in every format: each is lowered, executed, and held to its reference."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

EXPORT = Path(__file__).parents[1] / "benchmarks" / "export"
KINDS = ["executorch", "coreml", "onnx", "litert"]


@pytest.mark.slow
def test_small_architectures_are_exact_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXPORT))
    models, proving, times = import_module("models"), import_module("proving"), import_module("model_times")
    cases = {name: models.CASES[name] for name in ("shufflenet_v2_x0_5", "mobilenetv3_small_100")}
    proving.measure(cases, tmp_path, KINDS, replace(models.SETTING, size=64), again=False)
    times.add_times(list(cases), tmp_path)
    for name in cases:
        results = json.loads((tmp_path / name / "results.json").read_text())
        assert {precision["result"] for kind in KINDS for precision in results[kind].values()} == {"ok"}, name
        # Splits and shuffles are slices, reshapes and transposes, which XNNPACK takes whole.
        assert json.loads((tmp_path / name / "times.json").read_text())["parts"] == 1
