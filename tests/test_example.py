"""examples/distill_digits.py does the whole flow by the Python API."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples/distill_digits.py"


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 60


@pytest.mark.slow
def test_the_example_distils_exports_verifies_and_measures(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, EXAMPLE, tmp_path / "runs"], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    files = [line.split()[0] for line in lines if line.endswith(", verified")]
    assert {"student-int8.pte", "student-int8.tflite", "student-int8.onnx", "student-fp32.onnx"} <= set(files)
    assert "NOT VERIFIED" not in done.stdout
    assert Path(lines[-2].removeprefix("bundle: "), "manifest.json").is_file()
    assert Path(lines[-1].removeprefix("report: ")).is_file()
