"""The command line as a user meets it: a process, its two streams and its exit code."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COMMANDS = ["run", "distill", "export", "verify", "bench", "report", "init", "recipes", "targets", "baseline-teacher", "advise"]
THREE_MISTAKES = "name: x\nseeed: 1\ndata: {image_size: big}\ntargets: [andriod]\n"


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgedistill", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def document(done: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON document of stdout; more than one is an error."""
    return json.loads(done.stdout)


def test_help_lists_the_commands_and_the_exit_codes(tmp_path: Path) -> None:
    done = call("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_and_json(tmp_path: Path, command: str) -> None:
    done = call(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_help_is_there_at_once(tmp_path: Path) -> None:
    # Time of the processor, and the best of several: other work on the machine isn't what is tested. Nor is a slow machine, where
    # Python and typer alone take most of the time that is allowed.
    typer = min(_processor_seconds(["-c", "import typer"], tmp_path) for _ in range(5))
    best = min(_processor_seconds(["-m", "edgedistill", "--help"], tmp_path) for _ in range(5))
    assert best < max(0.15, 2 * typer)


def _processor_seconds(arguments: list[str], folder: Path) -> float:
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, check=True, timeout=60)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "edgedistill", "--help"]
    trace = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    imported = {line.rsplit("|", 1)[1].strip() for line in trace.splitlines() if line.startswith("import time:")}
    assert "typer" in imported
    assert not imported & {"torch", "numpy", "pydantic", "rich", "ruamel.yaml", "edgedistill.steps"}


def test_version(tmp_path: Path) -> None:
    done = call("--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.1" in done.stdout


def _children_seconds() -> float:
    """Processor time of every child that has ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("command", ["run", "distill"])
def test_three_mistakes_give_three_errors_before_torch_is_imported(tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.yaml").write_text(THREE_MISTAKES)
    started = _children_seconds()
    done = call(command, "bad.yaml", cwd=tmp_path)
    # Of the processor: other work on the machine isn't what is tested.
    assert _children_seconds() - started < 1.5
    assert (done.returncode, done.stdout) == (2, "")
    for text in ("bad.yaml:2: seeed: ", "did you mean 'seed'?", "bad.yaml:3: data.image_size: ", "bad.yaml:4: targets.0: ", "'android'?"):
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()

    trace = [sys.executable, "-X", "importtime", "-m", "edgedistill", command, "bad.yaml"]
    assert "| torch" not in subprocess.run(trace, cwd=tmp_path, capture_output=True, text=True, check=False).stderr


def test_mistakes_as_json(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(THREE_MISTAKES)
    done = call("run", "bad.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    error = document(done)["error"]
    assert error["type"] == "RecipeError"
    assert error["exit_code"] == 2
    assert len(error["errors"]) == 3
    assert error["message"].startswith("3 mistakes in bad.yaml")


def test_a_wrong_set_names_itself(tmp_path: Path) -> None:
    done = call("run", "quickstart", "--set", "data.image_size=abc", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert document(done)["error"]["errors"] == ['--set data.image_size=abc: data.image_size: found "abc", expected a whole number']


def test_a_wrong_option_is_a_document_too(tmp_path: Path) -> None:
    done = call("run", "quickstart", "--nope", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "--nope" in document(done)["error"]["message"]
    assert "--nope" in done.stderr
    assert call("run", cwd=tmp_path).returncode == 2
    assert call("unknown", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("command", ["export", "verify", "bench", "report"])
def test_without_a_run_the_message_says_how_to_make_one(tmp_path: Path, command: str) -> None:
    for arguments in ([command], [command, "--runs-dir", "elsewhere"], [command, "nowhere"]):
        done = call(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "edgedistill run recipes/quickstart.yaml" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_unknown_target_is_refused_before_a_run_is_looked_for(tmp_path: Path) -> None:
    done = call("export", "--target", "andriod", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'android'?" in done.stderr


@pytest.mark.parametrize("command", ["bench", "compare a.onnx b.onnx"])
def test_a_device_that_is_none_is_refused(tmp_path: Path, command: str) -> None:
    done = call(*command.split(), "--device", "usb:1", cwd=tmp_path)
    assert done.returncode == 2
    assert "found device 'usb:1', expected" in done.stderr


def test_nothing_was_measured_yet(tmp_path: Path) -> None:
    done = call("results", cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing was measured here yet" in done.stderr


def test_recipes(tmp_path: Path) -> None:
    listed = call("recipes", cwd=tmp_path)
    assert listed.returncode == 0
    assert "edgedistill run recipes/quickstart.yaml" in listed.stdout
    names = [recipe["name"] for recipe in document(call("recipes", "--json", cwd=tmp_path))["recipes"]]
    assert names == ["llm/chat", "llm/tool-calls", "quickstart", "text/classifier", "text/embedder", "vision/imagefolder"]
    shown = call("recipes", "quickstart", cwd=tmp_path)
    assert shown.stdout.startswith("# edgedistill run recipes/quickstart.yaml\n")
    schema = document(call("recipes", "--schema", cwd=tmp_path))
    assert schema["title"] == "Recipe"
    assert call("recipes", "nope", cwd=tmp_path).returncode == 2


def test_targets(tmp_path: Path) -> None:
    assert "Core ML" in call("targets", "ios", cwd=tmp_path).stdout
    listed = {target["name"]: target for target in document(call("targets", "--json", cwd=tmp_path))["targets"]}
    camera, gpu = ["android-camera", "ios-camera"], ["android-gpu", "ios-executorch", "ios-coreai"]
    text = ["text-linux", "text-mobile", "llm-linux", "llm-mobile"]
    assert list(listed) == sorted(["android", "ios", "linux", "onnx-mobile", "raspberry-pi", "tradeoff", "web", *camera, *gpu, *text])
    assert "executorch fp16 vulkan" in call("targets", "android-gpu", cwd=tmp_path).stdout
    assert {"format": "coreml", "precision": "int8", "delegate": None, "input": "float32-nchw"} in listed["ios"]["artifacts"]


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    """A folder in which `edgedistill.steps.flow` is a stand-in, so that only the ends of a command are tested."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\n"
        "import edgedistill.steps\n"
        "stand_in = types.ModuleType('edgedistill.steps.flow')\n"
        "exec(open('stand_in.py').read(), stand_in.__dict__)\n"
        "sys.modules['edgedistill.steps.flow'] = edgedistill.steps.flow = stand_in\n"
    )
    return tmp_path


def ended(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    """`edgedistill bench` with a flow whose bench has this body."""
    (folder / "stand_in.py").write_text(
        f"from pathlib import Path\nimport os\ndef newest_run(runs_dir): return Path('r')\ndef bench(folder):\n    {body}\n"
    )
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "edgedistill", "bench", *options],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code", "kind"),
    [
        ("from edgedistill.errors import UserError; raise UserError('told')", 2, "UserError"),
        ("from edgedistill.errors import CheckFailed; raise CheckFailed('told')", 3, "CheckFailed"),
        ("from edgedistill.errors import DeviceFailed; raise DeviceFailed('told')", 4, "DeviceFailed"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
        ("raise ValueError('told')", 1, "ValueError"),
    ],
)
def test_each_kind_of_end_has_its_code(flow: Path, body: str, code: int, kind: str) -> None:
    for options in ([], ["--json"]):
        done = ended(flow, body, *options)
        assert done.returncode == code
        assert ("Traceback" in done.stderr) == (code == 1)
        if options:
            assert document(done)["error"]["type"] == kind
        else:
            assert done.stdout == ""
            assert "told" in done.stderr or kind == "KeyboardInterrupt"


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("check_failed", 3), ("runtime_failed", 4)])
def test_stdout_is_one_document_whatever_libraries_print(flow: Path, status: str, code: int) -> None:
    done = ended(flow, f"print('chatter'); os.write(1, b'native'); return {{'run': 'r', 'status': '{status}', 'artifacts': []}}", "--json")
    assert done.returncode == code
    assert document(done) == {"run": "r", "status": status, "artifacts": []}
    assert "chatter" in done.stderr
    assert "native" in done.stderr


def test_init_writes_a_recipe_that_is_valid_and_never_over_another(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    odd = call("init", "my first: one.yaml", "--data", "photos", "--json", cwd=tmp_path)
    assert document(odd)["command"] == "edgedistill run 'my first: one.yaml'"
    done = call("init", "mine.yaml", "--data", "photos", "--target", "ios", "--target", "linux", "--json", cwd=tmp_path)
    assert document(done) == {"path": "mine.yaml", "command": "edgedistill run mine.yaml"}
    text = (tmp_path / "mine.yaml").read_text()
    assert text.startswith("# edgedistill run mine.yaml\n")
    assert 'source: {imagefolder: "photos"}' in text
    assert "targets: [ios, linux]" in text
    again = call("init", "mine.yaml", "--json", cwd=tmp_path)
    assert again.returncode == 2
    assert "mine.yaml exists" in document(again)["error"]["message"]
    assert (tmp_path / "mine.yaml").read_text() == text


def test_init_writes_a_recipe_for_modules_and_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", features=np.zeros((8, 4), np.float32))
    done = call("init", "mine.yaml", "--task", "tensors", "--json", cwd=tmp_path)
    assert document(done)["command"] == "edgedistill run mine.yaml --trust-code"
    text = (tmp_path / "mine.yaml").read_text()
    assert text.startswith("# edgedistill run mine.yaml --trust-code\n")
    assert 'npz: "samples.npz"' in text


def test_init_asks_and_tells_all_mistakes_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgedistill", "init", "asked.yaml"]
    asked = subprocess.run(command, cwd=tmp_path, input="\nsklearn-digits\nios, linux\n", capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout == "asked.yaml is written. Run it:\n  edgedistill run asked.yaml\n"
    silent = subprocess.run([*command[:-1], "silent.yaml"], cwd=tmp_path, input="", capture_output=True, text=True, check=False)
    assert silent.returncode == 2
    assert silent.stderr.endswith("error: no answer; give --task, --data and --target instead\n")
    done = call("init", "bad.yaml", "--data", "nowhere", "--target", "andriod", "--json", cwd=tmp_path)
    errors = document(done)["error"]["errors"]
    assert [error.split(":")[0] for error in errors] == ["data", "target"]
    assert "(did you mean 'android'?)" in errors[1]
    done = call("init", "bad.yaml", "--task", "tensor", "--target", "andriod", "--json", cwd=tmp_path)
    errors = document(done)["error"]["errors"]
    assert [error.split(":")[0] for error in errors] == ["task", "target"]
    assert "(did you mean 'tensors'?)" in errors[0]
    assert not (tmp_path / "bad.yaml").exists()
