"""A disk that is full or read-only is one message and exit code 4, in any step; and the same command goes on later."""

import errno
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, edgedistill
from made_disks import Disk, left_behind, mounted

from edgedistill import rows, storage
from edgedistill.errors import StorageFailed, UserError
from edgedistill.files import write_array, write_json
from edgedistill.runs import open_run
from edgedistill.steps import flow

STEPS = [
    "data", "teacher", "teaching", "teaching-set", "control", "student", "qat", "programs", "export-executorch", "export-onnx",
    "export-litert", "export-coreml", "val-student-int8.pte", "holdout", "bench-student-int8.onnx",
]  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=200m", "tmpfs") as folder:
        yield Disk(folder)


def one_message(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """The command ended with exit code 4, one error that says one of `said`, and no traceback."""
    error = json.loads(done.stdout)["error"] if done.returncode == 4 else {}
    assert (done.returncode, error.get("type")) == (4, "StorageFailed"), done.stderr[-3000:]
    assert any(text in error["message"] for text in said), error
    assert "the same command continues" in error["message"]
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def begun(tiny: Path, disk: Disk, step: str) -> None:
    """The run of `tiny` on the disk, as if it had come to `step`."""
    run = shutil.copytree(tiny / "runs", disk.folder / "runs", symlinks=True, dirs_exist_ok=True) / "tiny"
    (disk.folder / "tiny.yaml").write_text(TINY)
    for name in STEPS[STEPS.index(step) :]:
        for path in run.glob(f"work/records/{name}*"):
            path.unlink()
        shutil.rmtree(run / "work" / name, ignore_errors=True)
    if step == "teaching-set":
        shutil.rmtree(disk.folder / "runs" / ".cache")


def test_a_disk_that_is_full_while_samples_are_written_ends_no_process(disk: Disk) -> None:
    (disk.folder / "tiny.yaml").write_text(TINY)
    disk.fill(2_000_000)
    done = edgedistill("distill", "tiny.yaml", "--json", cwd=disk.folder)
    # Images that would not fit are read from their own files; then a later file finds the disk full.
    one_message(done, "can't be written: the disk is full; free some space there")
    disk.empty()
    assert left_behind(disk.folder) == []


@pytest.mark.slow
def test_a_disk_that_is_full_while_files_are_lowered_costs_nothing_that_was_made(tiny: Path, disk: Disk) -> None:
    begun(tiny, disk, "bench-student-int8.onnx")
    artifacts = sorted((disk.folder / "runs/tiny/artifacts").iterdir())
    disk.fill(100_000)
    one_message(edgedistill("export", "runs/tiny", "--target", "linux", "--fresh", "--json", cwd=disk.folder), "the disk is full")
    disk.empty()
    assert left_behind(disk.folder) == []
    done = edgedistill("export", "runs/tiny", "--json", cwd=disk.folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted((disk.folder / "runs/tiny/artifacts").iterdir()) == artifacts


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_is_full_in_any_step_is_one_message(tiny: Path, disk: Disk, step: str) -> None:
    begun(tiny, disk, step)
    disk.fill(40_000)
    one_message(edgedistill("run", "tiny.yaml", "--json", cwd=disk.folder), "the disk is full", "MB are free; free some")
    disk.empty()
    assert left_behind(disk.folder) == []
    done = edgedistill("run", "tiny.yaml", "--json", cwd=disk.folder)
    assert done.returncode == 0, done.stderr[-3000:]
    names = ("student-int8.onnx", "student-int8.pte", "student-int8.tflite")
    made = {artifact["name"]: artifact["sha256"] for artifact in json.loads(done.stdout)["artifacts"]}
    first = {artifact["name"]: artifact["sha256"] for artifact in json.loads((tiny / "result.json").read_text())["artifacts"]}
    assert [made[name] for name in names] == [first[name] for name in names]


def test_a_limit_of_the_size_of_files_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = edgedistill("distill", "tiny.yaml", "--json", cwd=tmp_path, preexec_fn=limit)
    one_message(done, "images.npy can't be written: the file is larger than the limit")


def test_a_read_only_folder_is_one_message(tiny: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    (tmp_path / "tiny.yaml").write_text(TINY)
    with mounted(tmp_path / "fixed", "--bind", copy) as fixed:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(fixed)], check=True)
        for command in (["run", "tiny.yaml", "--runs-dir", fixed], ["export", fixed / "tiny"]):
            one_message(edgedistill(*command, "--json", cwd=tmp_path), "the file system is read-only")


@pytest.mark.slow
def test_what_only_reads_a_run_needs_not_write_to_it(tiny: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    file, temporaries = tmp_path / "x.onnx", tmp_path / "tmp"
    shutil.copy(copy / "tiny/artifacts/student-int8.onnx", file)
    temporaries.mkdir()
    with mounted(tmp_path / "fixed", "--bind", copy) as fixed:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(fixed)], check=True)
        run, environment = fixed / "tiny", {**os.environ, "TMPDIR": str(temporaries)}
        done = edgedistill("report", run, "--json", cwd=tmp_path, env=environment)
        assert (done.returncode, json.loads(done.stdout)["report"]) == (0, "tiny-report.html"), done.stderr[-3000:]
        assert (tmp_path / "tiny-report.html").stat().st_size > 100_000
        done = edgedistill("verify", file, "--against", run, "--json", cwd=tmp_path, env=environment)
        assert (done.returncode, json.loads(done.stdout)["run"]) == (0, str(run)), done.stderr[-3000:]
        done = edgedistill("verify", run, "--json", cwd=tmp_path, env=environment)
        found = json.loads(done.stdout)
        assert (done.returncode, found["run"], found["status"]) == (0, str(run), "ok"), done.stderr[-3000:]
    assert list(temporaries.iterdir()) == []


def test_the_report_of_a_read_only_run_goes_into_this_folder(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    monkeypatch.chdir(tmp_path)
    with mounted(tmp_path / "fixed", "--bind", copy) as fixed:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(fixed)], check=True)
        assert [flow.report(fixed / "tiny") for _ in range(2)] == [Path("tiny-report.html"), Path("tiny-report-2.html")]
    assert Path("tiny-report.html").stat().st_size > 100_000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_reasons_are_told_from_other_errors(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(StorageFailed, match=r"run can't be (written|opened): .*, and the same command continues"),
        open_run(tmp_path / "run"),
    ):
        raise OSError(number, os.strerror(number), str(tmp_path / "run"))
    for other in (OSError(errno.EIO, "Input/output error"), ValueError("wrong"), UserError("No space left on device, says the user")):
        assert storage.failure_of(other) is None
    wrapped = RuntimeError("in a library")
    wrapped.__cause__ = OSError(number, os.strerror(number))
    assert storage.failure_of(wrapped, tmp_path) is not None


def test_writers_say_why_they_could_not(disk: Disk) -> None:
    disk.fill(100_000)
    big = np.zeros(1_000_000)
    with pytest.raises(StorageFailed, match=r"big\.npy can't be written: the disk is full"):
        write_array(disk.folder / "big.npy", big)
    with pytest.raises(StorageFailed, match=r"big\.json can't be written: the disk is full"):
        write_json(disk.folder / "big.json", big.tolist())
    with (
        pytest.raises(StorageFailed, match=r"rows\.npy can't be written: the disk is full"),
        rows.writing(disk.folder / "rows.npy", np.uint8, (1_000_000,)) as write,
    ):
        write(np.zeros(1_000_000, np.uint8))
    assert not (disk.folder / "rows.npy").exists()
    assert storage.failure_in("", disk.folder) is None
    disk.fill(0)
    assert "the disk is full" in str(storage.failure_in("it crashed without a word", disk.folder))
