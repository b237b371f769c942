"""apps/pi: the command as a user starts it, with a bundle's own package, and cameras that stand in for real ones."""

import hashlib
import html
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from edgedistill.steps.bundle import bundle

APP = Path(__file__).resolve().parents[1] / "apps/pi"
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
VCGENCMD = '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50001\n'
HANGS = """
import atexit, time
if {opened}:
    # As picamera2 closes its camera at the exit.
    atexit.register(time.sleep, 60)
CAP_V4L2 = CAP_PROP_FRAME_WIDTH = CAP_PROP_FRAME_HEIGHT = 0
class VideoCapture:
    def __init__(self, *_): pass
    def isOpened(self): return {opened}
    def set(self, *_): pass
    def grab(self): time.sleep(60)
    def release(self): pass
"""


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(bundle(tiny / "runs/tiny", ["raspberry-pi"], tmp_path_factory.mktemp("bundles")).bundles["raspberry-pi"])


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "bundle")


@pytest.fixture(scope="module")
def app(folder: Path):
    """Imports a module of the app, which finds the bundle's package."""
    paths = [str(APP), str(folder / "python")]
    sys.path[:0] = paths
    yield lambda name: importlib.import_module(f"edgedistill_pi.{name}")
    for path in paths:
        sys.path.remove(path)


def draw(folder: Path, *names: str, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for name in names:
        # Written beside, then renamed, as one file.
        Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f".{name}")
        (folder / f".{name}").rename(folder / name)
    return folder


@pytest.fixture
def start():
    """Starts the app in a process; path: modules that stand in for others. No process outlives its test, or lives for a minute."""
    processes, timers = [], []

    def started(folder: Path, *words: object, variables: dict[str, str] | None = None, path: Path | None = None) -> subprocess.Popen[str]:
        places = [*([path] if path else []), APP, folder / "python"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))} | (variables or {})
        command = [sys.executable, "-m", "edgedistill_pi", folder, *map(str, words)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        timers.append(threading.Timer(60, processes[-1].kill))
        timers[-1].start()
        return processes[-1]

    yield started
    for timer, process in zip(timers, processes, strict=True):
        timer.cancel()
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    """Exit code, stdout, and the app's own lines of stderr."""
    out, said = process.communicate()
    assert "Traceback" not in said
    return process.returncode, out, [line.removeprefix("edgedistill-pi: ") for line in said.splitlines() if "edgedistill-pi: " in line]


def terminated(process: subprocess.Popen[str], limit_s: float = 1.0) -> tuple[int, str, list[str]]:
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    found = ended(process)
    assert time.monotonic() - began < limit_s
    return found


def test_a_folder_gives_the_predictions_of_the_glue_in_the_order_of_names(start, folder: Path, app, tmp_path: Path) -> None:
    images = draw(tmp_path / "images", "b.png", "a.jpg", "c.webp")
    (images / "notes.txt").write_text("no image")
    (images / ".partial.png").write_text("no image yet")
    code, out, said = ended(start(folder, "--images", images, "--json", "--self-test"))
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["source"] for one in found] == ["a.jpg", "b.png", "c.webp"]
    app("glue")
    with importlib.import_module("tiny_model").Model.load(folder) as model:
        for one in found:
            top = model.predict(images / one["source"]).top(3)
            assert one["top"] == [{"label": score.label, "probability": pytest.approx(score.probability)} for score in top]
            assert (one["label"], one["probability"]) == (top[0].label, pytest.approx(top[0].probability))
            assert one["latency_ms"] > 0
    assert said[0] == "student-int8.tflite on litert 2.3.0 (XNNPACK): ok"
    assert said[-1].startswith("3 prediction(s), 0 skipped, in ")
    assert "p95 unavailable (needs 20 predictions)" in said[-1]


def test_an_image_that_cannot_be_read_is_skipped_and_told(start, folder: Path, tmp_path: Path) -> None:
    images = draw(tmp_path / "images", "a.png", "c.png")
    (images / "b.png").write_text("no image")
    code, out, said = ended(start(folder, "--images", images, "--artifact", "student-fp32.onnx"))
    assert code == 2
    assert re.fullmatch(r"a\.png: \d \d+\.\d% \(\d+\.\d\d ms\)\nc\.png: .*\n", out)
    assert said[0].startswith("student-fp32.onnx on onnxruntime ")
    assert "skipped: " in said[1]
    assert "b.png can't be read" in said[1]
    assert said[2] == "error: 1 image(s) could not be read; remove or replace them"


def test_watch_takes_new_and_changed_files_when_they_are_complete_and_sigterm_ends_it(start, folder: Path, tmp_path: Path) -> None:
    images = draw(tmp_path / "images", "b.png")
    whole = draw(tmp_path / "other", "a.png", seed=1) / "a.png"
    process = start(folder, "--images", images, "--watch", "--json")
    sources = (json.loads(line)["source"] for line in process.stdout)
    assert next(sources) == "b.png"
    with open(images / "a.png", "wb") as file:
        for part in np.array_split(np.frombuffer(whole.read_bytes(), np.uint8), 4):
            file.write(part.tobytes())
            file.flush()
            time.sleep(0.15)
    assert next(sources) == "a.png"
    draw(images, "b.png", seed=2)
    assert next(sources) == "b.png"
    code, out, said = terminated(process)
    assert (code, out) == (0, "")
    assert said[-1].startswith("3 prediction(s), 0 skipped")


def page(url: str, profile: Path) -> str:
    """What Chromium shows of it after three seconds."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=3000", "--enable-logging=stderr", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": str(profile)})
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    return done.stdout


def cell(dom: str, name: str) -> str:
    return html.unescape(re.search(rf'id="{name}"[^>]*>([^<]*)<', dom)[1])


def test_the_live_view_shows_the_last_prediction_and_the_board(start, folder: Path, tmp_path: Path) -> None:
    images = draw(tmp_path / "images", *(f"{number:02}.png" for number in range(25)))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/vcgencmd").write_text(VCGENCMD)
    (tmp_path / "bin/vcgencmd").chmod(0o755)
    variables = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    words = ["--images", images, "--watch", "--json", "--self-test", "--live", "--listen", "127.0.0.1:0"]
    process = start(folder, *words, variables=variables)
    last = [json.loads(process.stdout.readline()) for _ in range(25)][-1]
    url = re.search(r"live view at (http://127\.0\.0\.1:\d+/)", process.stderr.readline())[1]
    with urllib.request.urlopen(f"{url}state.json", timeout=10) as answer:
        state = json.load(answer)
    assert state["prediction"] == last
    assert (state["model"]["name"], state["self_test"], state["predictions"]) == ("tiny", "passed", 25)
    assert state["latency_ms"]["count"] == 25
    assert 0 < state["latency_ms"]["median"]["value"] <= state["latency_ms"]["p95"]["value"]
    assert state["throttling"]["value"] == "now: under-voltage; since the start: throttled"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}../etc/passwd", timeout=10)
    if CHROMIUM is not None:
        dom = page(url, tmp_path / "profile")
        assert cell(dom, "label") == last["label"]
        assert cell(dom, "probability") == f"{100 * last['probability']:.1f} %"
        assert cell(dom, "median") == f"{state['latency_ms']['median']['value']:g} ms, last 25"
        assert cell(dom, "p95") == f"{state['latency_ms']['p95']['value']:g} ms"
        assert cell(dom, "throttling") == "now: under-voltage; since the start: throttled (vcgencmd)"
        assert re.match(r"[\d.]+ °C \(|unavailable: ", cell(dom, "temperature"))
        assert cell(dom, "lost") == ""
    code, _, said = terminated(process)
    assert code == 0
    assert said[-1].endswith("throttling now: under-voltage; since the start: throttled (vcgencmd)")


def test_without_live_nothing_listens(start, folder: Path, tmp_path: Path) -> None:
    process = start(folder, "--images", draw(tmp_path / "images", "a.png"), "--watch")
    process.stdout.readline()
    sockets = [os.readlink(file) for file in Path(f"/proc/{process.pid}/fd").iterdir() if "socket" in os.readlink(file)]
    terminated(process)
    assert sockets == []


def test_a_self_test_that_fails_is_exit_code_3(start, copy: Path, tmp_path: Path) -> None:
    path = "golden/outputs/student-int8.tflite/logits.npy"
    data = bytearray((copy / path).read_bytes())
    data[-1] ^= 0x40
    (copy / path).write_bytes(data)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"][path] = hashlib.sha256(data).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    code, out, said = ended(start(copy, "--images", draw(tmp_path / "images", "a.png"), "--self-test"))
    assert (code, out) == (3, "")
    assert "FAILED, first in sample 15" in said[1]
    assert said[-1].startswith("error: the self-test failed")


def damaged(copy: Path) -> None:
    (copy / "manifest.json").write_text("{")


def changed(copy: Path) -> None:
    with open(copy / "student-int8.tflite", "ab") as file:
        file.write(b"\0")


def emptied(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.mkdir()


def without_wheel(copy: Path) -> None:
    for wheel in (copy / "python").glob("*.whl"):
        wheel.unlink()


def not_installed(copy: Path) -> None:
    shutil.rmtree(copy / "python/tiny_model")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (emptied, "has no manifest.json, expected the folder of a bundle"),
        (damaged, "manifest.json is damaged"),
        (changed, "student-int8.tflite has the SHA-256"),
        (without_wheel, "has no wheel, expected one"),
        (not_installed, "the package tiny_model is not installed; install it with `pip install '"),
    ],
)
def test_a_wrong_bundle_is_exit_code_2_with_one_line(start, copy: Path, tmp_path: Path, broken, said: str) -> None:
    broken(copy)
    code, out, lines = ended(start(copy, "--images", draw(tmp_path / "images", "a.png")))
    assert (code, out, len(lines)) == (2, "", 1)
    assert said in lines[0]


def test_a_folder_without_images_is_a_mistake(app, folder: Path, tmp_path: Path) -> None:
    images, glue = app("folder").images, app("glue").find(folder)
    for place, said in ((tmp_path / "none", "can't be read"), (draw(tmp_path / "empty"), "has no image")):
        with pytest.raises(app("errors").Mistake, match=said):
            next(images(place, glue, watch=False, stop=threading.Event()))


def test_a_runtime_that_is_missing_is_exit_code_4(start, copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    for entry in manifest["artifacts"]:
        entry["minimum_runtime"] = dict.fromkeys(entry["minimum_runtime"], "99.0")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    code, _, lines = ended(start(copy, "--images", draw(tmp_path / "images", "a.png")))
    assert (code, len(lines)) == (4, 1)
    assert "expected 99.0 or later" in lines[0]


@pytest.mark.skipif(find_spec("cv2") is not None or find_spec("picamera2") is not None, reason="a package for cameras is installed")
def test_no_package_for_cameras_is_one_clear_error(start, folder: Path) -> None:
    code, out, lines = ended(start(folder, "--camera"))
    assert (code, out) == (4, "")
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert lines[-1] == error
    assert "found neither picamera2 nor OpenCV" in error
    assert "apt install python3-picamera2" in error
    assert "pip install opencv-python-headless" in error


def test_a_camera_that_is_missing_is_one_clear_error(start, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text(HANGS.format(opened=False))
    code, _, lines = ended(start(folder, "--camera", "/dev/video7", path=tmp_path))
    assert code == 4
    assert lines[-1].startswith("error: OpenCV can't open the camera /dev/video7; check its cable")


def test_a_camera_that_hangs_does_not_hold_sigterm_up(start, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text(HANGS.format(opened=True))
    process = start(folder, "--camera", "/dev/video0", path=tmp_path)
    while "student-int8.tflite on litert" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.2)
    code, _, lines = terminated(process)
    assert code == 0
    assert lines[-1] == "no prediction, 0 skipped; the model was loaded"


def test_who_reads_the_predictions_may_close_the_pipe(start, folder: Path, tmp_path: Path) -> None:
    process = start(folder, "--images", draw(tmp_path / "images", *(f"{n}.png" for n in range(40))))
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(30) == 0
    assert "Traceback" not in said


PIXELS = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)


class Cv2(SimpleNamespace):
    """OpenCV with a camera that gives PIXELS as blue, green, red."""

    def __init__(self) -> None:
        super().__init__(CAP_V4L2=200, CAP_PROP_FRAME_WIDTH=3, CAP_PROP_FRAME_HEIGHT=4, opened=[], settings={}, grabbed=0)
        self.given: np.ndarray | None = None

    def VideoCapture(self, *arguments: object):
        self.opened.append(arguments)
        return self

    def isOpened(self) -> bool:
        return True

    def set(self, name: int, value: int) -> None:
        self.settings[name] = value

    def grab(self) -> bool:
        self.grabbed += 1
        time.sleep(0.002)
        return self.grabbed < 200

    def retrieve(self) -> tuple[bool, np.ndarray]:
        self.given = np.ascontiguousarray(PIXELS[..., ::-1])
        return True, self.given

    def release(self) -> None:
        self.opened.append("released")


class Picamera2(SimpleNamespace):
    """picamera2 with one camera, whose rows have padding."""

    STRIDE = 256

    def __init__(self, form: str = "BGR888") -> None:
        self.form, self.events, self.answers = form, [], 3
        rows = np.zeros((48, self.STRIDE), np.uint8)
        rows[:, : 3 * 64] = PIXELS.reshape(48, -1)
        self.buffer = rows.reshape(-1)

    def Picamera2(self, number: int):
        return [self][number]

    def create_video_configuration(self, main: dict) -> dict:
        return main

    def configure(self, wanted: dict) -> None:
        self.events.append(wanted)

    def camera_configuration(self) -> dict:
        return {"main": {"format": self.form, "size": (64, 48), "stride": self.STRIDE}}

    def start(self) -> None:
        self.events.append("start")

    def capture_request(self, wait: float, flush: bool | None):
        self.answers -= 1
        if not self.answers:
            raise TimeoutError
        return SimpleNamespace(release=lambda: self.events.append("release"))

    def MappedArray(self, request: object, name: str, reshape: bool, write: bool):
        mapped = SimpleNamespace(array=self.buffer)
        return type("Mapped", (), {"__enter__": lambda _: mapped, "__exit__": lambda *_: None})()

    def close(self) -> None:
        self.events.append("close")


@pytest.fixture
def taken(app, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Frames of a camera that stands in, by the words of the command line."""
    options, camera, glue = app("options"), app("camera"), app("glue").find(folder)

    def frames(package: str, module: object, *words: str):
        monkeypatch.setitem(sys.modules, package, module)
        monkeypatch.setattr(camera, "find_spec", lambda name: name == package)
        return camera.frames(options.parse(["BUNDLE", *words]), glue, threading.Event())

    return frames


def test_frames_of_opencv_are_not_copied_and_have_their_colors(taken, app, folder: Path) -> None:
    cv2 = Cv2()
    frames = taken("cv2", cv2, "--camera", "/dev/video3", "--size", "64x48", "--rotate", "90")
    name, read = next(frames)
    assert np.shares_memory(read().data, cv2.given)
    assert (name, read().orientation, cv2.settings) == ("/dev/video3", 6, {3: 64, 4: 48})
    prepared = importlib.import_module("tiny_model.frames").prepared
    expected = np.rot90(prepared(app("glue").find(folder).frame.of(PIXELS), 32), -1)
    assert np.abs(prepared(read(), 32).astype(int) - expected).max() <= 1
    frames.close()
    assert cv2.opened == [("/dev/video3", 200), "released"]


def test_opencv_drops_frames_that_are_not_due(taken, app) -> None:
    cv2 = Cv2()
    frames = taken("cv2", cv2, "--camera", "--fps", "20")
    began = time.monotonic()
    for _ in range(3):
        next(frames)
    assert 0.09 < time.monotonic() - began
    assert cv2.grabbed > 10
    with pytest.raises(app("errors").DeviceFailed, match="/dev/video0 gives no more frames"):
        list(frames)


def test_frames_of_picamera2_are_not_copied_and_are_given_back(taken, app, folder: Path) -> None:
    module = Picamera2()
    frames = taken("picamera2", module, "--camera", "--size", "64x48")
    name, read = next(frames)
    assert (name, read().data is module.buffer) == ("camera 0", True)
    prepared = importlib.import_module("tiny_model.frames").prepared
    assert np.array_equal(prepared(read(), 32), prepared(app("glue").find(folder).frame.of(PIXELS), 32))
    next(frames)
    assert module.events == [{"size": (64, 48), "format": "BGR888"}, "start", "release"]
    with pytest.raises(app("errors").DeviceFailed, match="camera 0 gave no frame for 10 s"):
        next(frames)
    assert module.events[3:] == ["release", "close"]


def test_what_picamera2_cannot_do_is_told(taken, app) -> None:
    failed = app("errors").DeviceFailed
    with pytest.raises(failed, match="picamera2 finds no camera 1"):
        next(taken("picamera2", Picamera2(), "--camera", "1"))
    with pytest.raises(failed, match="gives MJPEG, expected BGR888; name a USB camera by /dev/videoN"):
        next(taken("picamera2", Picamera2("MJPEG"), "--camera"))
    with pytest.raises(failed, match="cv2 is installed, but its import fails"):
        next(taken("cv2", None, "--camera", "/dev/video0"))


def test_the_temperature_is_that_of_the_processor(app, tmp_path: Path) -> None:
    health = app("health")
    assert health.temperature(tmp_path).document == {"value": None, "unavailable": f"{tmp_path} has no thermal zone"}
    for number, (name, millidegrees) in enumerate((("gpu-thermal", 40000), ("cpu-thermal", 61549))):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}/type").write_text(f"{name}\n")
        (tmp_path / f"thermal_zone{number}/temp").write_text(f"{millidegrees}\n")
    assert health.temperature(tmp_path).document == {"value": 61.5, "source": "cpu-thermal"}
    (tmp_path / "thermal_zone1/temp").write_text("broken")
    assert health.temperature(tmp_path).document == {"value": 40.0, "source": "gpu-thermal"}


def test_throttling_is_told_in_words(app, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    health = app("health")
    assert health.described(0) == "none since the start"
    assert health.described(0x50005) == "now: under-voltage, throttled"
    assert health.described(0x80002) == "now: frequency capped; since the start: soft temperature limit"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no vcgencmd" in health.throttling(tmp_path).unavailable
    device = tmp_path / "cooling_device0"
    device.mkdir()
    for name, text in (("type", "cpufreq-cpu0"), ("cur_state", "0"), ("max_state", "4")):
        (device / name).write_text(text)
    assert health.throttling(tmp_path).value == "none now"
    (device / "cur_state").write_text("3")
    assert health.throttling(tmp_path).value == "now: frequency capped, step 3 of 4"
    (tmp_path / "vcgencmd").write_text("#!/bin/sh\necho VCHI initialization failed\n")
    (tmp_path / "vcgencmd").chmod(0o755)
    assert health.throttling(tmp_path).unavailable == "vcgencmd answered 'VCHI initialization failed'"


def test_latency_is_that_of_the_nearest_rank_and_needs_samples(app) -> None:
    latency = app("record").latency
    assert latency([])["median"] == {"value": None, "unavailable": "no prediction yet"}
    assert latency([1.0] * 19)["p95"] == {"value": None, "unavailable": "needs 20 predictions"}
    assert latency([float(n) for n in range(1, 101)]) == {"count": 100, "median": {"value": 50.5}, "p95": {"value": 95.0}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one of the arguments --images --camera is required"),
        (["--camera", "--watch"], "found --watch with --camera"),
        (["--images", "x", "--fps", "3"], "found --fps with --images"),
        (["--camera", "--fps", "0"], "found '0', expected a number above 0"),
        (["--camera", "--size", "640"], "found '640', expected WIDTHxHEIGHT"),
        (["--camera", "--listen", "0.0.0.0"], "found --listen without --live"),
        (["--camera", "--live", "--listen", "::1"], "found '::1', expected HOST, HOST:PORT or [IPv6]:PORT"),
        (["--camera", "--live", "--listen", "x:70000"], "found 'x:70000'"),
        (["--camera", "--threads", "0"], "found '0', expected 1 or more"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(app, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as raised:
        app("options").parse(["BUNDLE", *words])
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


def test_addresses_of_the_live_view(app) -> None:
    parse = app("options").parse
    for words, expected in (
        ([], ("127.0.0.1", 8080)), (["--listen", "0.0.0.0"], ("0.0.0.0", 8080)), (["--listen", "pi:90"], ("pi", 90)),
        (["--listen", "[::1]:90"], ("::1", 90)), (["--listen", "[::]"], ("::", 8080)),
    ):  # fmt: skip
        assert parse(["BUNDLE", "--camera", "--live", *words]).live == expected
    assert parse(["BUNDLE", "--camera"]).live is None


def test_it_has_types_that_hold(folder: Path, tmp_path: Path) -> None:
    # The app takes the types of the quickstart's package; all classifiers have the same.
    shutil.copytree(folder / "python/tiny_model", tmp_path / "quickstart_model")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", "--package", "edgedistill_pi"]
    environment = os.environ | {"MYPYPATH": f"{APP}:{tmp_path}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_its_wheel_has_the_command_and_the_page(tmp_path: Path) -> None:
    source = shutil.copytree(APP, tmp_path / "pi", ignore=shutil.ignore_patterns("__pycache__"))
    script = f"from flit_core.buildapi import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.strip()) as wheel:
        assert "edgedistill_pi/page.html" in wheel.namelist()
        assert "edgedistill-pi=edgedistill_pi.app:main" in wheel.read("edgedistill_pi-0.1.0.dist-info/entry_points.txt").decode()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze in PATH")
def test_systemd_knows_everything_in_the_service(tmp_path: Path) -> None:
    text = (APP / "edgedistill-pi.service").read_text()
    assert "/opt/edgedistill-pi/bin/edgedistill-pi" in text
    # The check wants a program that is there.
    (tmp_path / "edgedistill-pi.service").write_text(text.replace("/opt/edgedistill-pi/bin/edgedistill-pi", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "edgedistill-pi.service"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_has_every_option(app, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app("options").parse(["--help"])
    options = set(re.findall(r"(--[a-z-]+)", capsys.readouterr().out)) - {"--help"}
    table = (APP / "README.md").read_text().partition("## Options")[2].partition("Predictions go")[0]
    assert options == set(re.findall(r"^\| `(--[a-z-]+)", table, re.MULTILINE))
