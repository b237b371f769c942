"""The suite for attached devices, run on rigs as its users run it on theirs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from device_tests.rigs.board import Board
from device_tests.rigs.harness import ROOT
from device_tests.rigs.phone import Phone

FILES = {f"student-{precision}.{suffix}" for precision in ("int8", "fp32") for suffix in ("pte", "tflite", "onnx")}
INT8 = {name for name in FILES if "int8" in name}


class Report:
    """What became of the tests, by name: passed, failed, skipped."""

    def __init__(self, folder: Path, spec: str, variables: dict[str, str], bundle: Path, *words: object) -> None:
        told = folder / "told.xml"
        given = ["--device", spec, "--bundle", bundle, "--junitxml", told, "-p", "no:cacheprovider", *words]
        command = [sys.executable, "-m", "pytest", "device_tests", *map(str, given)]
        self.done = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=1800)
        assert told.exists(), self.done.stdout + self.done.stderr
        self.tests = {
            one.attrib["name"]: next((part.tag for part in one if part.tag in ("failure", "error", "skipped")), "passed")
            for one in ElementTree.parse(told).iter("testcase")
        }

    def of(self, test: str, outcome: str) -> set[str]:
        """The files with which `test` had that outcome."""
        found = (name for name, what in self.tests.items() if name.startswith(f"{test}[") and what == outcome)
        return {name[name.index("student-") :].rstrip("]") for name in found if "student-" in name}


def test_a_phone_passes(phone: Phone, bundle: Path, tmp_path: Path) -> None:
    report = Report(tmp_path, phone.spec, phone.variables, bundle, "--exact", "--stress-minutes", 0.05, "--budget", "peak_rss_mb=200")
    assert report.done.returncode == 0, report.done.stdout
    for test in ("test_it_runs", "test_outputs_are_the_golden_ones", "test_latency_is_measured", "test_peak_memory_budget"):
        assert report.of(test, "passed") == FILES, test
    for test in ("test_battery_makes_sense", "test_temperatures_make_sense", "test_a_load_of_minutes"):
        assert report.of(test, "passed") == FILES, test
    assert report.of("test_nothing_is_throttled", "skipped") == FILES


def test_a_board_passes(board: Board, bundle: Path, tmp_path: Path) -> None:
    report = Report(tmp_path, board.spec, board.variables, bundle, "--exact", "-k", "int8", "-m", "not stress")
    assert report.done.returncode == 0, report.done.stdout
    for test in ("test_outputs_are_the_golden_ones", "test_battery_makes_sense", "test_temperatures_make_sense"):
        assert report.of(test, "passed") == INT8, test


def test_a_64_bit_arm_phone_passes(board: Board, bundle: Path, tmp_path: Path) -> None:
    server, serial = board.start_phone()
    report = Report(tmp_path, f"adb:{serial}", server.variables, bundle, "--exact", "-k", "int8", "-m", "accuracy")
    assert report.done.returncode == 0, report.done.stdout
    assert report.of("test_outputs_are_the_golden_ones", "passed") == INT8


@pytest.fixture
def changed(bundle: Path, tmp_path: Path) -> Path:
    """The bundle, but one file's golden outputs belong to other classes."""
    shutil.copytree(bundle, tmp_path / "changed")
    golden = tmp_path / "changed/golden/outputs/student-int8.tflite/logits.npy"
    np.save(golden, np.roll(np.load(golden), 1, axis=1))
    return tmp_path / "changed"


def test_other_outputs_and_broken_budgets_fail(phone: Phone, changed: Path, tmp_path: Path) -> None:
    words = ("--budget", "peak_rss_mb=0.001", "-k", "int8 or whole", "-m", "smoke or accuracy or memory")
    report = Report(tmp_path, phone.spec, phone.variables, changed, *words)
    assert report.done.returncode == 1, report.done.stdout
    assert report.of("test_outputs_are_the_golden_ones", "failure") == {"student-int8.tflite"}
    assert report.of("test_peak_memory_budget", "failure") == INT8
    assert [name.split("[")[0] for name, what in report.tests.items() if what == "failure" and "student-" not in name] == [
        "test_the_bundle_is_whole"
    ]


def test_without_a_device_the_suite_says_what_it_wants() -> None:
    command = [sys.executable, "-m", "pytest", "device_tests/test_figures.py", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "give --device" in done.stdout
