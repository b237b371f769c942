"""A part of benchmarks/faults/fuzz.py, with fixed seeds; the whole is slow."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "faults"


@pytest.fixture
def fuzzer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(FOLDER)
    import fuzz

    yield fuzz
    del sys.modules["fuzz"]


def test_broken_recipes_end_in_messages(fuzzer: ModuleType) -> None:
    outcome = fuzzer.fuzz("recipes", range(0, 90, 2), None)
    assert outcome.failed == []
    assert outcome.counts["refused"] >= 40


def test_damaged_files_end_in_messages(fuzzer: ModuleType, tiny: Path) -> None:
    outcome = fuzzer.fuzz("files", range(80), tiny / "runs" / "tiny")
    assert outcome.failed == []
    assert outcome.counts["refused"] >= 40


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["recipes", "files"])
def test_thousands_of_broken_inputs_end_in_messages(fuzzer: ModuleType, tiny: Path, kind: str) -> None:
    assert fuzzer.fuzz(kind, range(2000), tiny / "runs" / "tiny").failed == []
