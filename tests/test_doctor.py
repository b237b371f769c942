"""`edgedistill doctor`: what is there is ok, what was taken away is told with how to get it, and nothing heavy is imported to find out."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import edgedistill

from edgedistill.backends.executorch.doctor import rows as optional
from edgedistill.doctor.examine import cpu_row, doctor
from edgedistill.errors import DeviceFailed
from edgedistill.records.doctor import Diagnosis, Row

# Stands in for the machine's own sitecustomize: in the process of doctor and in each that it starts.
HIDES = """
from importlib import metadata
known = metadata.distribution

def distribution(name):
    if name in ("litert-torch", "openvino"):
        raise metadata.PackageNotFoundError(name)
    return known(name)

metadata.distribution = distribution
"""


def rows(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in document["rows"]}


def environment(path: Path, **more: str) -> dict[str, str]:
    """Without what a developer may have set; `path` goes before what is installed."""
    kept = {name: value for name, value in os.environ.items() if name != "QNN_SDK_ROOT"}
    return kept | {"PYTHONPATH": str(path)} | more


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """Exit code and document where programs, packages and an SDK are missing, old or broken."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "sitecustomize.py").write_text(HIDES)
    (folder / "onnxscript-0.1.0.dist-info").mkdir()
    (folder / "onnxscript-0.1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxscript\nVersion: 0.1.0\n")
    (folder / "onnxruntime").mkdir()
    (folder / "onnxruntime" / "__init__.py").write_text("raise ImportError('libstdc++ is too old')\n")
    (folder / "sdk").mkdir()
    tools = folder / "bin"
    tools.mkdir()
    (tools / "ssh").write_text("#!/bin/sh\necho no library >&2\nexit 127\n")
    (tools / "ssh").chmod(0o755)
    done = edgedistill("doctor", "--json", cwd=folder, env=environment(folder, PATH=str(tools), QNN_SDK_ROOT=str(folder / "sdk")))
    return done.returncode, json.loads(done.stdout)


def test_here_all_that_the_default_targets_need_works(tmp_path: Path) -> None:
    # A file of the user's that is named as a package is not asked.
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not the package')\n")
    done = edgedistill("doctor", "--json", cwd=tmp_path, env=environment(tmp_path / "nothing"))
    document = json.loads(done.stdout)
    assert (done.returncode, document["status"], document["failed"]) == (0, "ok", []), done.stdout
    jsonschema.validate(document, Diagnosis.model_json_schema(mode="serialization", by_alias=True))
    found = rows(document)
    for row in document["rows"]:
        assert row.keys() == {"name", "status", "found", "needed_for", "get", "required"}
        assert (row["get"] is None) == (row["status"] == "ok"), row
        assert row["found"]
        assert row["needed_for"]
    for name in ("ExecuTorch", "LiteRT", "ONNX", "Core ML", "Core AI"):
        assert (found[f"{name} converter"]["status"], found[f"{name} converter"]["required"]) == ("ok", True)
    assert "onnxruntime 1." in found["ONNX Runtime"]["found"]
    assert "raspberry-pi" in found["LiteRT"]["needed_for"]
    assert "ios" not in found["LiteRT"]["needed_for"]
    assert found["Qualcomm QNN"]["status"] == "missing"
    if sys.platform != "darwin":
        assert found["Core ML execution"]["status"] == "missing"


def test_what_is_needed_and_not_there_fails(broken: tuple[int, dict[str, Any]]) -> None:
    code, document = broken
    assert (code, document["status"]) == (4, "runtime_failed")
    assert document["failed"] == ["extra export", "LiteRT converter", "ONNX converter", "ONNX Runtime"]


@pytest.mark.parametrize(
    ("name", "status", "found", "get"),
    [
        ("LiteRT converter", "missing", "no litert-torch", "pip install 'litert-torch"),
        ("ONNX converter", "unusable", "onnxscript 0.1.0, expected ", "pip install 'onnx"),
        ("ONNX Runtime", "unusable", "libstdc++ is too old", "--force-reinstall 'onnxruntime"),
        ("extra export", "missing", "no litert-torch", "onnxscript"),
        ("Qualcomm QNN", "unusable", "is not a whole SDK", "QNN_SDK_ROOT"),
        ("OpenVINO", "missing", "no openvino", "executorch[openvino]"),
        ("adb", "missing", "no adb in PATH", "apt install adb"),
        ("ssh", "unusable", "exit status 127: no library", "openssh-client"),
        ("chromium", "missing", "no chromium in PATH", "apt install chromium"),
    ],
)
def test_what_is_missing_is_reported_with_how_to_get_it(
    broken: tuple[int, dict[str, Any]], name: str, status: str, found: str, get: str
) -> None:
    row = rows(broken[1])[name]
    assert row["status"] == status
    assert found in row["found"]
    assert get in row["get"]


def test_what_works_stays_ok_beside_what_does_not(broken: tuple[int, dict[str, Any]]) -> None:
    found = rows(broken[1])
    assert {name for name in ("Python", "ExecuTorch", "LiteRT", "Core ML program executor") if found[name]["status"] != "ok"} == set()


def test_a_whole_sdk_is_found_and_none_of_its_code_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib" / "x86_64-linux-clang").mkdir(parents=True)
    (tmp_path / "lib" / "x86_64-linux-clang" / "libQnnHtp.so").touch()
    monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path))
    row = optional()[0]
    assert (row.status, row.found) == ("ok", f"SDK in {tmp_path}")
    monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path / "gone"))
    row = optional()[0]
    assert row.status == "unusable"
    assert row.found.endswith("gone, which is no folder")


def test_the_text_has_every_row_and_what_to_do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedistill.cli import doctor as command

    broken = Row(name="ONNX Runtime", status="unusable", found="[red]x[/red]", needed_for="verify", get="pip install 'a[b]'", required=True)
    works = Row(name="LiteRT", status="ok", found="starts", needed_for="verify", get=None, required=True)
    command._show(Diagnosis(status="runtime_failed", failed=["ONNX Runtime"], rows=[broken, works]))
    text = capsys.readouterr().out
    for part in (
        "[red]x[/red]",
        "ONNX Runtime (unusable): pip install 'a[b]'",
        "LiteRT",
        "NOT WORKING, and needed for the default targets: ONNX",
    ):
        assert part in text
    command._show(Diagnosis(status="ok", failed=[], rows=[broken, works]))
    assert "All that the default targets need works." in capsys.readouterr().out
    lacks = Row(name="extra export", status="missing", found="no torch", needed_for="export", get="pip install x", required=False)
    command._show(Diagnosis(status="ok", failed=[], rows=[lacks]))
    assert "All that is installed works. The default targets need more to export and verify: pip install x" in capsys.readouterr().out


def test_the_process_itself_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from edgedistill.doctor import examine; examine._child = lambda code: {'gpu': []}; examine.doctor(); "
        "print(sorted({'torch', 'executorch', 'coremltools', 'onnxruntime', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_crashes_or_says_nothing_is_an_error() -> None:
    from edgedistill.doctor.examine import _child

    # What a library printed before it crashed is not why.
    crash = "import os, signal, sys; print('a note', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(DeviceFailed, match=r"^it crashed with exit status -"):
        _child(crash)
    with pytest.raises(DeviceFailed, match=r"^ModuleNotFoundError: No module named 'no_such_package'$"):
        _child("import no_such_package")
    assert _child("print('noise'); answer = {'a': '1'}") == {"a": "1"}


@pytest.mark.parametrize(
    ("flags", "machine", "status", "said"),
    [
        (["avx2", "avx512f", "avx512_vnni"], "x86_64", "ok", "AVX512-VNNI"),
        (["avx2", "avx_vnni"], "AMD64", "ok", "AVX-VNNI"),
        (["avx2"], "x86_64", "missing", "no VNNI"),
        (["asimd", "asimddp"], "aarch64", "ok", "NEON dot product"),
        (["asimd"], "aarch64", "missing", "no dot product"),
        ([], "arm64", "ok", "4 cores"),
    ],
)
def test_the_processor_is_judged_by_its_int8_instructions(flags: list[str], machine: str, status: str, said: str) -> None:
    row = cpu_row("some CPU", 4, flags, machine)
    assert (row.status, row.required) == (status, False)
    assert said in row.found
    if status == "missing" and machine == "x86_64":
        assert "overflow 16-bit sums" in row.get


def test_an_environment_without_this_package_is_a_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from edgedistill.errors import UserError

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(UserError, match="not installed"):
        doctor()
