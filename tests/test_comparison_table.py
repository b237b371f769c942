import importlib.util
from pathlib import Path

PATH = Path(__file__).parents[1] / "benchmarks" / "export" / "comparison_table.py"
MACHINE = {"cpu": "AMD EPYC", "cores": 1, "cpu_flags": ["fma"], "python": "3.11.7"}
STEP = {"seconds": 2.0, "cpu_seconds": 1.5, "peak_rss_mb": 900.0, "versions": {"olive-ai": "0.13.0"}}
VAL = {"accuracy": 0.9, "interval": [0.88, 0.92], "against": {"difference": -0.01, "interval": [-0.02, 0.0], "flips": 12, "n": 1000}}


def test_the_table_has_one_figure_a_column_and_says_why_one_is_missing() -> None:
    spec = importlib.util.spec_from_file_location("comparison_table", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ran = {"steps": [STEP, STEP | {"peak_rss_mb": 400.0}], "bytes": 2_500_000, "val": VAL, "latency": [{"p50": p} for p in (0.5, 0.2, 0.3)]}
    rows = [
        {"tool": "coremltools", "format": "coreml", **ran, "latency": []},
        {"tool": "Olive", "format": "onnx", **ran},
        {"tool": "ai-edge-quantizer", "format": "litert", "error": "ended | badly", "latency": []},
        {"tool": "crashed", "format": "litert", **ran, "val": {"unavailable": "no answer"}, "latency": [], "latency_error": "killed"},
    ]
    text = module.table(rows, MACHINE, 27.2)
    *_, head, under, olive, failed, crashed, apple = text.splitlines()
    assert {line.count("|") for line in (head, under, olive, failed, crashed, apple)} == {head.count("|")}
    assert olive == (
        "| Olive | .onnx | 90.0% (88.0% to 92.0%) | -1.0 (-2.0 to +0.0) | 12 of 1000 | 2.50 | 0.300 (0.200 to 0.500) "
        "| 2.0 + 2.0 | 1.5 + 1.5 | 900, 400 |"
    )
    assert "unavailable (ended / badly)" in failed
    assert "unavailable (no answer)" in crashed
    assert "unavailable (killed)" in crashed
    assert "unavailable (Core ML runs on Apple's systems only)" in apple
    assert "olive-ai 0.13.0" in text
