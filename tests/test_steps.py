"""A run folder: what is done is read back, what changed is made again, what was interrupted goes on."""

from pathlib import Path

import pytest

from edgedistill.errors import UserError
from edgedistill.run import Run, newest, open_run


class Work:
    """Writes a file, counts its calls, and may be interrupted after the first half."""

    def __init__(self) -> None:
        self.calls = 0
        self.found: list[str] = []
        self.interrupt = False

    def __call__(self, folder: Path) -> dict[str, int]:
        self.calls += 1
        self.found = sorted(p.name for p in folder.iterdir())
        (folder / "half").write_text("1")
        if self.interrupt:
            raise KeyboardInterrupt
        (folder / "whole").write_text("2")
        return {"calls": self.calls}


def test_a_step_is_done_once_for_its_inputs(tmp_path: Path) -> None:
    state, work = Run(tmp_path), Work()
    assert state.step("a", {"lr": 1.0}, work) == {"calls": 1}
    assert Run(tmp_path).step("a", {"lr": 1.0}, work) == {"calls": 1}
    assert state.step("a", {"lr": 2.0}, work) == {"calls": 2}
    assert work.found == [], "of another try nothing is left"


def test_an_interrupted_step_finds_what_it_left_at_the_same_inputs_only(tmp_path: Path) -> None:
    state, work = Run(tmp_path), Work()
    work.interrupt = True
    for inputs, found in ((1, []), (1, ["half"]), (2, [])):
        with pytest.raises(KeyboardInterrupt):
            state.step("a", inputs, work)
        assert work.found == found
        assert state.result("a") is None


def test_a_step_whose_folder_changed_is_done_again(tmp_path: Path) -> None:
    state, work = Run(tmp_path), Work()
    state.step("a", 1, work)
    state.path("a", "whole").write_text("tampered")
    assert state.step("a", 1, work) == {"calls": 2}
    assert state.path("a", "whole").read_text() == "2"


def test_forgotten_steps_have_no_result_and_others_keep_theirs(tmp_path: Path) -> None:
    state = Run(tmp_path)
    for name in ("val-x.pte", "val-y.pte", "bench-x.pte"):
        state.step(name, 1, Work())
    state.forget("val-")
    assert [state.result(name) for name in ("val-x.pte", "val-y.pte")] == [None, None]
    assert state.result("bench-x.pte") == {"calls": 1}


def test_a_run_belongs_to_one_process_and_fresh_empties_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with open_run(folder) as state:
        state.step("a", 1, Work())
        with pytest.raises(UserError, match="another edgedistill works in"), open_run(folder):
            pass
    with open_run(folder, fresh=True) as state:
        assert state.result("a") is None
        assert not state.path("a").exists()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not a run"), open_run(tmp_path, fresh=True):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_newest_run_is_the_one_that_was_worked_on_last(tmp_path: Path) -> None:
    import os

    with pytest.raises(UserError, match="no run in"):
        newest(tmp_path)
    for age, name in ((100, "older"), (0, "newer"), (200, "oldest")):
        with open_run(tmp_path / name) as state:
            state.step("a", 1, Work())
        for record in (tmp_path / name / "steps").iterdir():
            os.utime(record, (10_000 - age, 10_000 - age))
    assert newest(tmp_path).name == "newer"
