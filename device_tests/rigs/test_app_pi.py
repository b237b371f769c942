"""apps/pi on the board, by the steps of its README for a board without a network. Python comes from the kit: the board has none."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_tests.rigs.board import Board
from device_tests.rigs.board_image import USER
from device_tests.rigs.harness import ROOT, until
from device_tests.rigs.processes import end, free_port
from edgedistill.measure import kit

APP = ROOT / "apps/pi"
# A reset of the board leaves only folders of this name.
HOME = "kits/app_pi"
PYTHON = "sh python/python"
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
DRAW = """
import sys
from sklearn.datasets import load_digits
from PIL import Image
digits = load_digits()
for number in range(12):
    Image.fromarray((digits.images[number] * 15).astype("uint8")).resize((60, 48)).save(f"{sys.argv[1]}/{number:02}.png")
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handwritten digits."""
    folder = tmp_path_factory.mktemp("photos")
    subprocess.run([sys.executable, "-c", DRAW, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def expected(bundle: Path, photos: Path) -> list[dict]:
    """What the app predicts on this machine."""
    path = {"PYTHONPATH": f"{APP}:{bundle / 'python'}"}
    command = [sys.executable, "-m", "edgedistill_pi", bundle, "--images", photos, "--json"]
    done = subprocess.run(command, env=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def wheels(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the README: the bundle's with a runtime and Pillow, and the app's. With pip, which the kit does not have."""
    folder, (wheel,) = tmp_path_factory.mktemp("wheels"), (bundle / "python").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    platforms = [f"--platform={name}" for name in PLATFORMS]
    download = [*pip, "download", "-d", folder, "--only-binary=:all:", "--python-version=3.13", *platforms]
    done = subprocess.run([*download, f"{wheel}[litert,images]", "pip"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no wheels for the board: {done.stderr.strip().splitlines()[-1]}")
    subprocess.run([*pip, "wheel", "-w", folder, "--no-deps", APP], check=True)
    return folder


@pytest.fixture(scope="module")
def installed(board_rig: Board, bundle: Path, photos: Path, wheels: Path) -> Iterator[None]:
    """The bundle, the photos and the installed app in HOME of the board's user."""
    packed = kit.build("aarch64").path
    assert _ssh(board_rig, f"mkdir -p {HOME}/python", home="").returncode == 0
    copied = ["scp", "-q", "-r", "-F", board_rig.ssh_config, "-P", board_rig.port, packed, bundle, photos, wheels]
    subprocess.run([*map(str, copied), f"{USER}@127.0.0.1:{HOME}"], check=True)
    install = f"""
mv {photos.name} photos && mv {wheels.name} wheels && tar xzf {packed.name} -C python && rm {packed.name}
wheel=$(ls raspberry-pi/python/*.whl)
pip="{PYTHON} $(ls wheels/pip-*.whl)/pip"
$pip install --no-compile --target app --no-index --find-links wheels "${{wheel}}[litert,images]" edgedistill-pi
"""
    done = _ssh(board_rig, install, timeout_s=600)
    assert done.returncode == 0, done.stderr
    assert "Successfully installed" in done.stdout
    yield
    _ssh(board_rig, f"rm -rf {HOME}", home="")


def _ssh(board: Board, script: str, *, home: str = HOME, timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
    return board.ssh(f"cd ./{home} || exit 9\n{script}", user=USER, timeout_s=timeout_s)


def _command(*words: str) -> str:
    """The app as the kit's Python starts it: it has the current folder in its path."""
    return f"cd app && exec sh ../python/python -m edgedistill_pi ../raspberry-pi --images ../photos {' '.join(words)}"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("artifact", ["student-int8.tflite", "student-int8.onnx", "student-int8.pte"])
def test_the_self_test_passes_and_predictions_are_those_of_this_machine(board: Board, expected: list[dict], artifact: str) -> None:
    done = _ssh(board, _command("--self-test", "--json", "--artifact", artifact))
    assert done.returncode == 0, done.stderr
    assert re.search(rf"edgedistill-pi: {artifact} on \w+ [\d.]+ \(\w+\): ok\n", done.stderr)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["source"] for one in found] == [one["source"] for one in expected]
    for one, other in zip(found, expected, strict=True):
        # Logits are equal, but those of ONNX Runtime may be one step of the output's scale off.
        same = {score["label"]: score["probability"] for score in one["top"]}[other["label"]]
        assert same == pytest.approx(other["probability"], abs=0.1 if artifact.endswith(".onnx") else 1e-6)
    assert "12 prediction(s), 0 skipped" in done.stderr
    assert "SoC 38.0 °C (" in done.stderr
    assert "throttling unavailable: there is no vcgencmd" in done.stderr


@pytest.mark.usefixtures("installed")
def test_a_camera_that_is_not_there_is_told(board: Board) -> None:
    done = _ssh(board, _command("--camera").replace("--images ../photos ", ""))
    assert (done.returncode, done.stdout) == (4, "")
    assert "error: found neither picamera2 nor OpenCV" in done.stderr


@pytest.mark.usefixtures("installed")
def test_the_live_view_is_seen_through_ssh_and_sigterm_ends_it(board: Board, expected: list[dict]) -> None:
    done = _ssh(board, f"({_command('--watch', '--live')}) > out 2> said < /dev/null & echo $!")
    process, port = done.stdout.strip(), free_port()
    words = ["ssh", "-F", board.ssh_config, "-p", board.port, "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:8080", f"{USER}@127.0.0.1"]
    tunnel = subprocess.Popen(list(map(str, words)))

    def state() -> dict:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/state.json", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return {"predictions": 0}

    try:
        until(lambda: state()["predictions"] == 12, 60)
        assert state()["prediction"]["label"] == expected[-1]["label"]
        board.sensors(temp_c=71.5)
        until(lambda: state()["temperature_c"]["value"] == 71.5, 20)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert b"<title>edgedistill</title>" in answer.read()
    finally:
        end(tunnel)
    began = time.monotonic()
    left = _ssh(board, f"kill {process}; while kill -0 {process} 2>/dev/null; do sleep 0.05; done; cat said")
    assert not any("edgedistill_pi" in line for line in board.processes())
    # A second on a real board; this one is emulated, and ssh takes its time too.
    assert time.monotonic() - began < 5
    assert "12 prediction(s), 0 skipped" in left.stdout
