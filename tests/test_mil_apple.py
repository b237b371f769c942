"""The executor of MIL against coremltools' own tests of operators, whose expected values Apple holds Core ML to on a Mac."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_mil_documented import CASES

from edgedistill.backends.coreml.mil.ops import OPERATORS

WEIGHTS = {name for name in OPERATORS if name.startswith("constexpr_")}
"""Operators of `test_mil_weights`."""
LEFT_OUT = ("recurrent", "control_flow", "random")
"""Files of tests about operators that are not executed here."""
REFUSED = {
    "crop_resize", "reverse_sequence", "space_to_batch", "batch_to_space",
    # Points in the middle of two pixels, and an even number of channels.
    "resample", "local_response_norm",
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each test; see `apple_cases`."""
    folder = tmp_path_factory.mktemp("apple")
    spec = find_spec("coremltools")
    assert spec is not None
    assert spec.origin is not None
    tests = Path(spec.origin).parent / "converters/mil/mil/ops/tests"
    files = [path for path in sorted(tests.glob("*/test_*.py")) if not path.stem.endswith(LEFT_OUT)]
    environment = os.environ | {"PYMIL_TEST_TARGETS": "mlprogram", "INCLUDE_MIL_FP32_UNIT_TESTS": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    plugins = ["-p", "apple_cases", "-p", "no:cacheprovider"]
    options = ["-c", os.devnull, "--rootdir", folder, "-q", *plugins, "--outcomes", folder / "found.json"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert (folder / "found.json").exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads((folder / "found.json").read_text())


def test_the_executor_gives_what_apple_expects_of_core_ml(outcomes: dict[str, Any]) -> None:
    # Indices outside of a tensor are an error there too.
    different = {name: said for name, said in outcomes["different"].items() if "invalid_indices" not in name}
    assert different == {}
    assert sum(outcomes["executed"].values()) > 900


def test_every_operator_is_tried(outcomes: dict[str, Any]) -> None:
    assert set(OPERATORS) - set(outcomes["executed"]) - set(CASES) - WEIGHTS == set()


def test_nothing_else_is_refused(outcomes: dict[str, Any]) -> None:
    assert {name for name in REFUSED for said in outcomes["refused"].values() if name in said} == REFUSED
    assert [said for said in outcomes["refused"].values() if not any(name in said for name in REFUSED)] == []
