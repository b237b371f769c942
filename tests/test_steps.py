"""A run folder: what is done is read back, what changed is made again, what was interrupted goes on."""

import ast
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest

from edgedistill import provenance
from edgedistill.errors import UserError
from edgedistill.run import Run, Step
from edgedistill.runs import newest, open_run


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
    run, work = Run(tmp_path), Work()
    assert run.step(Step("a", {"lr": 1.0}), work) == {"calls": 1}
    assert Run(tmp_path).step(Step("a", {"lr": 1.0}), work) == {"calls": 1}
    assert run.step(Step("a", {"lr": 2.0}), work) == {"calls": 2}
    assert work.found == [], "of another try nothing is left"
    assert run.step(Step("a", {"lr": 2.0}, version=2), work) == {"calls": 3}


def test_an_interrupted_step_finds_what_it_left_at_the_same_inputs_only(tmp_path: Path) -> None:
    run, work = Run(tmp_path), Work()
    work.interrupt = True
    for inputs, found in ((1, []), (1, ["half"]), (2, [])):
        with pytest.raises(KeyboardInterrupt):
            run.step(Step("a", inputs), work)
        assert work.found == found
        assert run.result("a") is None


def test_a_step_whose_folder_changed_is_done_again(tmp_path: Path) -> None:
    run, work = Run(tmp_path), Work()
    run.step(Step("a", 1), work)
    run.work("a", "whole").write_text("tampered")
    assert run.step(Step("a", 1), work) == {"calls": 2}
    assert run.work("a", "whole").read_text() == "2"


def test_a_step_is_done_again_on_demand_and_finds_nothing(tmp_path: Path) -> None:
    run, work = Run(tmp_path), Work()
    run.step(Step("a", 1), work)
    assert run.step(Step("a", 1), work, again=True) == {"calls": 2}
    assert work.found == []


def test_a_failure_is_kept_for_readers_and_tried_again(tmp_path: Path) -> None:
    run, results = Run(tmp_path), [{"error": "no device"}, {"error": "no device"}, {"error": None}, {}]
    assert run.step(Step("a"), lambda _: results[0]) == {"error": "no device"}
    assert run.result("a") == {"error": "no device"}
    assert run.step(Step("a"), lambda _: results[2]) == {"error": None}
    assert run.step(Step("a"), lambda _: results[3]) == {"error": None}, "this one did not fail"


def test_a_step_follows_the_content_of_what_it_reads(tmp_path: Path) -> None:
    run, first, second = Run(tmp_path), Work(), Work()

    def done(inputs: int, content: str) -> tuple[int, int]:
        def write(folder: Path) -> None:
            first(folder)
            run.path("artifacts", "x.bin").write_text(content)

        run.step(Step("first", inputs, outputs=("artifacts/x.bin",)), write)
        run.step(Step("second", reads=("work/first/whole", "artifacts/x.bin")), second)
        return first.calls, second.calls

    assert done(1, "a") == (1, 1)
    assert done(1, "a") == (1, 1)
    assert done(2, "a") == (2, 1), "made anew, with the same content"
    assert done(3, "b") == (3, 2)
    run.path("artifacts", "x.bin").unlink()
    with pytest.raises(UserError, match=r"x\.bin is missing.*edgedistill run"):
        run.step(Step("second", reads=("artifacts/x.bin",)), second)
    assert done(3, "b") == (4, 2), "what is missing is made again, and is what it was"


def test_outputs_outside_of_the_folder_go_with_the_step_that_made_them(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def write(*names: str) -> None:
        outputs = tuple(f"artifacts/{name}" for name in names)
        run.step(Step("a", outputs=outputs), lambda _: [run.path(output).write_text("x") for output in outputs])

    write("one", "two")
    write("two", "three")
    assert sorted(path.name for path in run.path("artifacts").iterdir()) == ["three", "two"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `made` of two modules and a package `other`, and a distribution `converter` 1.0."""
    folder = tmp_path / "code"
    for name, text in {
        "made/__init__.py": "",
        "made/lower.py": '"""Lowers."""\n\nfrom made import helper\nfrom other import shared\n\n\nx = helper.double(1)\n',
        "made/helper.py": "def double(x):\n    return 2 * x\n",
        "made/unused.py": "",
        "other/__init__.py": "",
        "other/shared.py": "",
        "converter-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: converter\nVersion: 1.0\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    for module in [name for name in sys.modules if name.partition(".")[0] in ("made", "other")]:
        monkeypatch.delitem(sys.modules, module)
    return folder


def calls(run: Path, step: Step, work: Work) -> int:
    """How often `work` was done after a process that starts now asked for the step."""
    for cached in (provenance.code_hash, provenance.statements):
        cached.cache_clear()
    Run(run).step(step, work)
    return work.calls


@pytest.mark.parametrize(
    ("file", "before", "after", "again"),
    [
        ("made/lower.py", "helper.double(1)", "helper.double(2)", True),
        ("made/helper.py", "2 * x", "x + x", True),
        ("made/helper.py", "    return", "    # Twice.\n    return", False),
        ("made/lower.py", '"""Lowers."""', '"""Lowers a program."""', False),
        ("made/unused.py", "", "x = 1", False),
        ("other/shared.py", "", "x = 1", False),
    ],
)
def test_code_counts_with_what_it_imports_from_its_package_and_not_by_its_words(
    tmp_path: Path, package: Path, file: str, before: str, after: str, again: bool
) -> None:
    work, step = Work(), Step("a", code=("made.lower",))
    assert calls(tmp_path / "run", step, work) == calls(tmp_path / "run", step, work) == 1
    path = package / file
    path.write_text(path.read_text().replace(before, after) if before else after)
    assert calls(tmp_path / "run", step, work) == (2 if again else 1)


def test_a_package_that_counts_and_one_that_is_noted(tmp_path: Path, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts, notes = Work(), Work()
    steps = Step("counts", packages=("converter", "absent-package")), Step("notes", noted=("converter",))
    for version, times in (("1.0", 1), ("1.1", 2)):
        metadata = package / "converter-1.0.dist-info" / "METADATA"
        metadata.write_text(f"Metadata-Version: 2.1\nName: converter\nVersion: {version}\n")
        assert (calls(tmp_path / "run", steps[0], counts), calls(tmp_path / "run", steps[1], notes)) == (times, 1)
    run = Run(tmp_path / "run")
    assert run.versions("counts") == {"edgedistill": installed_version("edgedistill"), "converter": "1.1"}
    assert run.versions("notes")["converter"] == "1.0", "the version that made it, not the one that is there now"
    assert run.versions("absent") == {}
    assert "counts is done again, changed: converter 1.0 -> 1.1\n" in capsys.readouterr().err


def test_a_module_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"edgedistill\.nothing"):
        Run(tmp_path).step(Step("a", code=("edgedistill.nothing",)), Work())


def test_a_run_belongs_to_one_process_and_fresh_empties_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with open_run(folder) as run:
        run.step(Step("a", 1, outputs=("artifacts/x",)), lambda _: run.path("artifacts", "x").touch())
        with pytest.raises(UserError, match="another edgedistill works in"), open_run(folder):
            pass
    with open_run(folder, fresh=True) as run:
        assert run.result("a") is None
        assert not run.work("a").exists()
        assert not run.path("artifacts").exists()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not a run"), open_run(tmp_path, fresh=True):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_run_of_an_older_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "digits"
    (run / "student").mkdir(parents=True)
    (run / "run.json").write_text('{"schema": "edgedistill/run/1"}')
    (run / "student" / "model.safetensors").write_text("weeks of training")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for fresh in (False, True):
        with (
            pytest.raises(UserError, match=r"older version of edgedistill.*run its recipe again.*or remove the folder"),
            open_run(run, fresh=fresh),
        ):
            pass
    with pytest.raises(UserError, match="older version"):
        newest(tmp_path / "runs")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_try_that_ended_while_it_made_the_folder_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "run" / "work").mkdir(parents=True)
    (tmp_path / "run" / "work" / ".run.123.tmp.json").write_text("{")
    with open_run(tmp_path / "run") as run:
        assert run.step(Step("a"), Work()) == {"calls": 1}


def test_the_newest_run_is_the_one_that_was_worked_on_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in"):
        newest(tmp_path)
    for age, name in ((100, "older"), (0, "newer"), (200, "oldest")):
        with open_run(tmp_path / name) as run:
            run.step(Step("a", 1), Work())
        for record in run.work("records").iterdir():
            os.utime(record, (10_000 - age, 10_000 - age))
    assert newest(tmp_path).name == "newer"


def test_code_is_read_without_syntax_trees_and_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that make syntax trees at once can get a SystemError from Python 3.11, and one of them may be a library's."""
    monkeypatch.setattr(ast, "parse", lambda *_, **__: pytest.fail("a syntax tree was made"))
    provenance.statements.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(provenance.sources, ["edgedistill.quantize.qat"] * 4))
    assert found == [found[0]] * 4
    assert "edgedistill.quantize.scheme" in found[0]
    asked = "import sys; from edgedistill.provenance import code_hash; code_hash('edgedistill.quantize.qat'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout == "False\n"


def test_imports_are_read_from_tokens_as_python_does() -> None:
    for name, lines in (provenance.sources("edgedistill.steps.flow") | provenance.sources("edgedistill.backends.coreml.lower")).items():
        expected = set()
        for node in ast.walk(ast.parse(provenance._source(name).read_text())):
            if isinstance(node, ast.Import):
                expected |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                expected |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        assert set(provenance.imports(lines, name)) == expected, name
