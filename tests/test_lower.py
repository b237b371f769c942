"""What fails while it is lowered is named with the reason, and costs no other file."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed
from edgedistill.export.lower import lower, lower_one
from edgedistill.export.programs import save_program
from edgedistill.records import ArtifactSpec
from edgedistill.tasks.image_classification.models import signature

SPECS = [ArtifactSpec("onnx", "fp32", role) for role in ("first", "second", "third")]
FAULTS = {
    "raises": ("raise ValueError('no kernel of this kind\\nand much more')", "ValueError: no kernel of this kind. The log is"),
    "crashes": ("os.kill(os.getpid(), 11)", "the converter ended with exit status -11"),
    "leaves": ("os._exit(0)", "the converter ended before the file was made"),
    "exits": ("print('out of memory'); os._exit(7)", "the converter ended with exit status 7: out of memory"),
}
"""Code that runs where the second file is lowered, and what is said of it."""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    for spec in SPECS:
        save_program(net, signature(16, 4), tmp_path / spec.program)
    (tmp_path / "files").mkdir()
    return tmp_path


def faulty(programs: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The converter of the child process runs `code` at the second file."""
    (programs / "sitecustomize.py").write_text(
        f"""import importlib, os, sys
if "edgedistill.export.worker" in " ".join(sys.orig_argv):
    converter = importlib.import_module("{backend("onnx").lower}")
    whole = converter.lower
    def lower(program, signature, path, spec, metadata):
        whole(program, signature, path, spec, metadata)
        if spec.role == "second":
            sys.stdout.flush()
            {code}
    converter.lower = lower
"""
    )
    monkeypatch.setenv("PYTHONPATH", str(programs), prepend=":")


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=pytest.mark.slow) if fault != "crashes" else fault for fault in FAULTS])
def test_the_other_files_of_a_format_are_made(fault: str, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = FAULTS[fault]
    faulty(programs, code, monkeypatch)
    lowered = lower(SPECS, programs, programs / "files", programs / "log", {})
    assert [artifact.role for artifact in lowered.artifacts] == ["first", "third"]
    (missing,) = lowered.not_lowered
    assert missing.name == SPECS[1].name
    assert missing.reason.startswith(said)
    assert missing.reason.endswith(f"The log is {programs / 'log'}")
    assert lowered.error == f"{missing.name}: {missing.reason}"
    assert sorted(path.name for path in (programs / "files").iterdir()) == sorted([SPECS[0].name, SPECS[2].name])
    with pytest.raises(DeviceFailed, match=missing.name):
        lower_one(SPECS[1], programs, programs / "files", programs / "log", {})


def test_a_process_that_does_not_start_is_an_error_of_every_file(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    lowered = lower(SPECS, programs, programs / "files", programs / "log", {})
    reasons = {missing.reason.partition(". ")[0] for missing in lowered.not_lowered}
    assert (len(lowered.not_lowered), reasons) == (3, {"the converter ended with exit status 1: no output"})
    assert (lowered.artifacts, lowered.peak_rss_mb) == ([], None)
