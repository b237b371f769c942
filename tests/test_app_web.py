"""The page of apps/web, built with a bundle and opened in Chromium: results, latencies, offline, and each error.

Chromium is driven by its DevTools protocol through a pipe. The packages of npm are those of test_glue_typescript.
"""

import base64
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_glue_typescript import CHROMIUM, called, packages, tool

from edgedistill.steps.bundle import bundle

APP = Path(__file__).parent.parent / "apps" / "web"
PARTS = ("preparation", "run", "total")
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
# Where a browser has no service workers, as in some private windows.
NO_WORKERS = "delete Navigator.prototype.serviceWorker"

__all__ = ["packages"]


class Handler(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".js": "text/javascript"}

    def log_message(self, *_):
        pass


class Server:
    """Serves a folder at 127.0.0.1 as `python -m http.server` does."""

    def __init__(self, folder):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Handler(*given, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Browser:
    """Chromium without a window. Messages are JSON, each ended by a zero byte, at its file descriptors 3 and 4."""

    def __init__(self, profile, *options):
        assert CHROMIUM, "found no chromium in PATH; install it, for example with `apt-get install chromium`"
        (theirs, self._out), (self._in, back) = os.pipe(), os.pipe()
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += [
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-proxy-server",
            "--remote-debugging-pipe",
        ]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}", *options]
        renumbered = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{back}', "bash", *command]
        self._process = subprocess.Popen(
            renumbered,
            pass_fds=(theirs, back),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": str(profile)},
            start_new_session=True,
        )
        os.close(theirs)
        os.close(back)
        self._numbers, self._answers, self.events = itertools.count(1), {}, []
        self._arrived = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with os.fdopen(self._in, "rb") as stream:
            rest = b""
            while data := stream.read1(1 << 16):
                *messages, rest = (rest + data).split(b"\0")
                with self._arrived:
                    for message in map(json.loads, messages):
                        if "id" in message:
                            self._answers[message["id"]] = message
                        else:
                            self.events.append(message)
                    self._arrived.notify_all()

    def call(self, method, session=None, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        with self._arrived:
            assert self._arrived.wait_for(lambda: number in self._answers, 60), f"no answer to {method}"
            answer = self._answers.pop(number)
        if "navigated" in answer.get("error", {}).get("message", ""):
            raise FailedError(method)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def page(self, url, script=None):
        """Open a page. script: JavaScript that runs before the page's own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "DOM"):
            page.call(f"{domain}.enable")
        if script:
            page.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        page.call("Page.navigate", url=url)
        return page

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._out)


class FailedError(Exception):
    """An expression failed in the page, or the page went to another address while it was asked."""


class Page:
    def __init__(self, browser, session):
        self._browser, self._session = browser, session

    def call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def value(self, expression):
        """What an expression of JavaScript gives in the page, as JSON. Raises FailedError."""
        how = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", expression=expression, **how)
        if "exceptionDetails" in answer:
            raise FailedError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def until(self, expression, seconds=60):
        """Wait until an expression is true in the page, and give it. Until it has the elements, asking fails."""
        end = time.monotonic() + seconds
        while True:
            failure = None
            try:
                if found := self.value(expression):
                    return found
            except FailedError as error:
                failure = error
            if time.monotonic() > end:
                text = self.value("document.body.innerText")
                pytest.fail(f"not true within {seconds} s ({failure}): {expression}\n{text}")
            time.sleep(0.05)

    def text(self, name):
        return self.value(f"document.getElementById('{name}').textContent")

    def reads(self, name, start):
        """Wait until the element has a text that starts so."""
        self.until(f"document.getElementById('{name}').textContent.startsWith('{start}')")

    def shown(self, name):
        return self.value(f"document.getElementById('{name}').checkVisibility()")

    def click(self, name):
        self.value(f"document.getElementById('{name}').click()")

    def loaded(self):
        self.reads("status", "Ready")

    def choose(self, path):
        """Choose a file as a user does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def labels(self, name=None):
        """The shown labels with their shares in percent, the most probable first. name: of the file they are of."""
        of_file = f" && document.getElementById('image').alt === '{name}'" if name else ""
        self.until(f"document.querySelector('#labels li') !== null{of_file}")
        cells = "[...document.querySelectorAll('#labels li > *')].map((cell) => cell.textContent)"
        texts = self.value(cells)
        return [(label, float(share.rstrip("%"))) for label, share in zip(texts[::3], texts[1::3], strict=True)]

    def latencies(self):
        """{part: (median, p95)} in milliseconds; None where nothing is shown yet."""
        cells = {part: [self.text(f"{part}-{kind}") for kind in ("median", "p95")] for part in PARTS}
        return {part: tuple(None if text == "–" else float(text) for text in texts) for part, texts in cells.items()}

    def problem(self):
        """Title and text of the problem, when there is one."""
        self.until("document.getElementById('problem').checkVisibility()")
        return f"{self.text('problem-title')}: {self.text('problem-text')}"

    def errors(self):
        """Everything that the console has of warnings and errors."""
        found = []
        for event in [event for event in self._browser.events if event.get("sessionId") == self._session]:
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"])
            if event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
                found.append(parameters["entry"])
            if event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("warning", "error", "assert"):
                found.append(parameters)
        return found


@pytest.fixture(scope="session")
def bundles(tiny, tmp_path_factory):
    """Bundles of the tiny run for the web, and for Python."""
    folder = tmp_path_factory.mktemp("bundles")
    made = bundle(tiny / "runs/tiny", ["web", "raspberry-pi"], folder).bundles
    return {name: Path(path) for name, path in made.items()}


@pytest.fixture(scope="session")
def app(packages, tmp_path_factory):
    """A copy of apps/web, whose node_modules are the shared ones."""
    copy = tmp_path_factory.mktemp("web") / "app"
    shutil.copytree(APP, copy, ignore=shutil.ignore_patterns("node_modules", "build", "dist"))
    (copy / "node_modules").symlink_to(packages)
    return copy


def build(app, folder, out):
    command = [tool("node"), "build.mjs", str(folder), "--out", str(out)]
    return subprocess.run(command, cwd=app, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def dist(app, bundles, tmp_path_factory):
    out = tmp_path_factory.mktemp("dist") / "dist"
    called(tool("node"), "build.mjs", bundles["web"], "--out", out, cwd=app)
    return out


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium with a camera that moves, and permission for it."""
    with Browser(tmp_path_factory.mktemp("profile") / "profile", *FAKE_CAMERA) as started:
        yield started


@pytest.fixture
def served(dist, tmp_path):
    """A copy of dist/, and its server."""
    folder = shutil.copytree(dist, tmp_path / "dist")
    with Server(folder) as server:
        yield folder, server


def photo(path, width=300, height=200):
    """Write an image that is wider than high, and of no flat colour."""
    pixels = np.random.default_rng(5).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR).save(path, compress_level=1)
    return path


PREDICT = """
import json, sys
from tiny_model import Model
with Model.load(sys.argv[1], artifact="student-int8.onnx") as model:
    scores = [model.predict(path).top(5) for path in sys.argv[2:]]
print(json.dumps([[(score.label, 100 * score.probability) for score in top] for top in scores]))
"""


def predicted_by_python(bundles, *paths):
    """What the glue code in Python predicts with the same artifact: five labels with percents for each image."""
    folder = bundles["raspberry-pi"]
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(folder), *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(folder / "python")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_close(shown, expected, percent=0.06):
    """The same first label; shares within `percent`, of which 0.05 is the page's rounding."""
    assert shown[0][0] == expected[0][0]
    shares = dict(shown)
    assert max(abs(shares[label] - share) for label, share in expected if label in shares) <= percent
    assert len(shown) == len(expected) == 5


def test_an_image_gives_what_python_gives(served, browser, bundles, tmp_path):
    _, server = served
    manifest = json.loads((bundles["web"] / "manifest.json").read_text())
    page = browser.page(f"{server.url}?artifact=student-int8.onnx&self-test")
    page.loaded()
    page.until("document.getElementById('self-test-result').dataset.ok")
    assert page.text("self-test-result") == "ok"
    assert "student-int8.onnx by ONNX Runtime Web 1.30.0 on cpu: ok" in page.text("self-test-text")
    assert "canvas: pixels are read back unchanged" in page.text("self-test-text")
    assert page.text("name") == manifest["name"]
    assert page.value("document.getElementById('artifact').value") == "student-int8.onnx"
    assert page.text("provider") == "wasm (CPU)"
    assert page.text("no-result") == "No image yet"
    path = photo(tmp_path / "photo.png")
    page.choose(path)
    [expected] = predicted_by_python(bundles, path)
    assert_close(page.labels(), expected)
    assert page.text("announcement").startswith(f"{expected[0][0]}, ")
    assert page.text("pixels-size") == "Model sees 32 × 32"
    times = page.latencies()
    assert all(median is not None and p95 is None for median, p95 in times.values())
    assert times["total"][0] == pytest.approx(times["preparation"][0] + times["run"][0], abs=0.011)
    page.click("repeat")
    page.reads("count", "Last 100 predictions")
    assert all(0 < median <= p95 for median, p95 in page.latencies().values())
    page.choose(path)
    page.reads("count", "Last 1 prediction;")
    assert page.errors() == []


DROP = """
fetch("icon.svg").then(async () => {
  const bytes = Uint8Array.from(atob("PNG"), (char) => char.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
  for (const type of ["dragover", "drop"]) {
    const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
    document.getElementById("preview").dispatchEvent(event);
  }
})
"""


WATCH = """
OffscreenCanvasRenderingContext2D.prototype.drawImage = function (...given) {
  drawn.push([this.canvas.width, this.canvas.height]);
  return draw.apply(this, given);
};
"""


def test_images_are_dropped_reduced_and_refused(served, browser, bundles, tmp_path):
    _, server = served
    page = browser.page(f"{server.url}?artifact=student-int8.onnx")
    page.loaded()
    small = photo(tmp_path / "small.png", 64, 80)
    [by_python] = predicted_by_python(bundles, small)
    page.value(DROP.replace("PNG", base64.b64encode(small.read_bytes()).decode()))
    assert_close(page.labels("dropped.png"), by_python)
    # More pixels than Safari's canvas has: the page halves the image first, which the model hardly notices.
    page.choose(photo(tmp_path / "normal.png", 480, 360))
    normal = page.labels("normal.png")
    page.value("globalThis.drawn = []; const draw = OffscreenCanvasRenderingContext2D.prototype.drawImage;" + WATCH)
    page.choose(photo(tmp_path / "large.png", 4800, 3600))
    assert_close(page.labels("large.png"), normal, percent=2)
    assert page.value("drawn") == [[2400, 1800]] * 3
    (tmp_path / "text.png").write_text("no image")
    page.choose(tmp_path / "text.png")
    assert "text.png (image/png) was not decoded. Choose a JPEG" in page.problem()
    assert page.shown("no-result")
    page.choose(small)
    assert_close(page.labels("small.png"), by_python)
    assert not page.shown("problem")


def test_a_camera_gives_results_and_latencies(served, browser):
    _, server = served
    page = browser.page(server.url)
    page.loaded()
    page.click("camera")
    page.until("document.getElementById('total-p95').textContent !== '–'")
    assert len(page.labels()) == 5
    assert all(0 < median <= p95 for median, p95 in page.latencies().values())
    assert page.value("document.getElementById('video').videoWidth") == 640
    before = page.value("performance.now()")
    page.click("self-test")
    page.until("document.getElementById('self-test-result').dataset.ok")
    count = page.text("count")
    page.until(f"document.getElementById('count').textContent !== '{count}' || performance.now() > {before + 5000}")
    assert page.text("camera") == "Stop camera"
    page.click("camera")
    assert page.text("camera") == "Start camera"
    assert page.value("document.getElementById('video').srcObject") is None
    assert page.errors() == []


def failing(name):
    """JavaScript that makes the camera fail with an error of this name."""
    return f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('failed', '{name}'))"


INSECURE = "delete Navigator.prototype.mediaDevices"
CAMERAS = {
    "insecure": (INSECURE, "The camera needs HTTPS: Browsers give no camera to http://127.0.0.1"),
    "refused": (failing("NotAllowedError"), "The camera was refused: Allow it for this page"),
    "busy": (failing("NotReadableError"), "The camera does not answer: Another program may use it"),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_a_camera_that_fails_is_told(dist, browser, name):
    script, expected = CAMERAS[name]
    with Server(dist) as server:
        page = browser.page(server.url, f"{script}; {NO_WORKERS}")
        page.loaded()
        page.click("camera")
        assert page.problem().startswith(expected)
        assert page.text("camera") == "Start camera"
        assert page.shown("camera")
        assert page.errors() == []


def test_no_camera_and_a_real_refusal_are_told(dist, tmp_path):
    with Server(dist) as server:
        cases = {(): "No camera was found: Connect", FAKE_CAMERA[:1]: "The camera was refused: Allow"}
        for options, expected in cases.items():
            with Browser(tmp_path / f"profile{len(options)}", *options) as browser:
                if options:
                    camera = {"permission": {"name": "camera"}, "origin": server.url}
                    browser.call("Browser.setPermission", setting="denied", **camera)
                page = browser.page(server.url, NO_WORKERS)
                page.loaded()
                page.click("camera")
                assert page.problem().startswith(expected)


def test_the_page_opens_without_its_server(served, browser, bundles, tmp_path):
    folder, server = served
    page = browser.page(server.url)
    page.loaded()
    assert not page.value("crossOriginIsolated")
    page.reads("offline", "The page opens without a network.")
    # It is not the cache of HTTP that answers.
    shutil.rmtree(folder)
    server.stop()
    page.call("Page.reload")
    page.until("globalThis.crossOriginIsolated")
    page.loaded()
    page.click("self-test")
    page.until("document.getElementById('self-test-result').dataset.ok === 'true'")
    page.choose(photo(tmp_path / "photo.png"))
    artifact = page.value("document.getElementById('artifact').value")
    assert artifact == json.loads((bundles["web"] / "manifest.json").read_text())["ship"]["order"][0]
    assert len(page.labels()) == 5
    assert page.text("offline") == "The page opens without a network."
    page.click("again")
    assert page.problem().startswith("There is no network: 127.0.0.1")
    # Isolated, the page may have threads.
    page.value("Object.assign(document.getElementById('threads'), { value: 2 }).dispatchEvent(new Event('change'))")
    page.until("location.search === '?threads=2'")
    page.loaded()
    assert page.value("document.getElementById('threads').value") == "2"
    assert [entry for entry in page.errors() if "sw.js" not in entry.get("url", "")] == []


def test_a_new_build_waits_until_its_user_wants_it(app, served, browser, bundles, tmp_path):
    folder, server = served
    page = browser.page(server.url)
    page.loaded()
    page.reads("offline", "The page opens without a network.")
    newer = shutil.copytree(bundles["web"], tmp_path / "newer")
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps(manifest | {"name": "newer"}))
    assert build(app, newer, folder).returncode == 0
    page.call("Page.reload")
    page.until("document.getElementById('renew').checkVisibility()")
    assert page.text("name") == manifest["name"]
    page.click("renew-now")
    page.reads("name", "newer")
    assert not page.shown("renew")
    assert len(page.value("caches.keys()")) == 1
    page.click("again")
    page.until("!navigator.serviceWorker.controller && document.getElementById('status').textContent === 'Ready'")
    assert page.errors() == []


def overwritten(name, data):
    def change(folder):
        (folder / name).unlink()
        if data is not None:
            (folder / name).write_bytes(data)

    return change


WASM = "runtime/ort-wasm-simd-threaded.wasm"
ORT = "runtime/ort.wasm.bundle.min.mjs"
MANIFEST = "bundle/manifest.json"
FIRST = "bundle/student-int8.onnx"
BROKEN = {
    "changed model": (FIRST, b"changed", "The bundle was changed: student-int8.onnx has another SHA-256: found "),
    "missing model": (FIRST, None, "A file of the bundle is missing: student-int8.onnx cannot be read (http://127"),
    "missing bundle": (MANIFEST, None, "The bundle is missing or damaged: manifest.json cannot be read (http://127"),
    "newer": (
        MANIFEST,
        b'{"schema": "edgedistill/manifest/9"}',
        "The bundle is of another version: found edgedistill/",
    ),
    "missing wasm": (WASM, None, f"The runtime is missing: {WASM} cannot be loaded (the server answers 404"),
    "no wasm": (WASM, b"<html>", f"The runtime is missing: {WASM} cannot be loaded (it is no WebAssembly)"),
    "missing runtime": (ORT, None, f"The runtime is missing: {ORT} cannot be loaded ("),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_missing_or_changed_is_told(dist, browser, tmp_path, name):
    path, data, expected = BROKEN[name]
    folder = shutil.copytree(dist, tmp_path / "dist", copy_function=os.link)
    overwritten(path, data)(folder)
    with Server(folder) as server:
        page = browser.page(f"{server.url}?artifact=student-int8.onnx")
        assert page.problem().startswith(expected)
        assert page.text("status") == "Not loaded"
        assert page.value("document.getElementById('camera').disabled")


def test_a_browser_without_wasm_or_workers_or_true_pixels_is_told(dist, browser, tmp_path):
    with Server(dist) as server:
        page = browser.page(server.url, "delete globalThis.WebAssembly")
        assert page.problem().startswith("This browser runs no WebAssembly: ")
        noise = "const read = OffscreenCanvasRenderingContext2D.prototype.getImageData;"
        noise += "OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...given) {"
        noise += "const found = read.apply(this, given); found.data[4] ^= 1; return found }"
        page = browser.page(f"{server.url}?self-test", f"{NO_WORKERS}; {noise}")
        page.until("document.getElementById('self-test-result').dataset.ok === 'false'")
        assert "canvas: this browser changes pixels that a page reads" in page.text("self-test-text")
        page.reads("offline", "Not available: this browser or address")
        page.choose(photo(tmp_path / "photo.png"))
        assert len(page.labels()) == 5


def test_files_of_another_build_are_not_kept(dist, browser, tmp_path):
    folder = shutil.copytree(dist, tmp_path / "dist", copy_function=os.link)
    overwritten("page.css", b"body { color: red }")(folder)
    with Server(folder) as server:
        page = browser.page(server.url)
        page.loaded()
        page.reads("offline", "Not available: the server gave a file")
        assert page.value("caches.keys()") == []


def luminance(colour):
    channels = [int(text) / 255 for text in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


COLOURS = """
Object.fromEntries(["ground", "card", "ink", "dim", "accent", "on-accent", "bad"].map((name) => {
  document.body.style.outlineColor = `var(--${name})`;
  return [name, getComputedStyle(document.body).outlineColor];
}))
"""
PAIRS = [
    ("ink", "ground"),
    ("dim", "ground"),
    ("ink", "card"),
    ("dim", "card"),
    ("accent", "card"),
    ("bad", "card"),
    ("on-accent", "accent"),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_on_a_phone(dist, browser, tmp_path, scheme):
    with Server(dist) as server:
        page = browser.page("about:blank", NO_WORKERS)
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
        page.call("Page.navigate", url=f"{server.url}?self-test")
        page.loaded()
        page.choose(photo(tmp_path / "photo.png"))
        assert len(page.labels()) == 5
        assert page.value("document.documentElement.scrollWidth") <= 320
        colours = page.value(COLOURS)
        assert (luminance(colours["ground"]) < 0.2) == (scheme == "dark")
        weak = {pair: ratio for pair in PAIRS if (ratio := contrast(colours[pair[0]], colours[pair[1]])) < 4.5}
        assert weak == {}
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        named = [[node.get(key, {}).get("value") for key in ("role", "name")] for node in nodes if not node["ignored"]]
        controls = [(role, name) for role, name in named if role in ("button", "combobox", "image", "table")]
        assert [control for control in controls if not control[1]] == []
        assert ("combobox", "Artifact") in controls
        assert ("table", "Latency") in controls


def test_quantiles_are_those_of_numpy(dist, tmp_path):
    times = np.random.default_rng(0).gamma(2, 3, 150)
    script = f"import {{ Latencies }} from {json.dumps((dist / 'app/latency.js').as_uri())};"
    script += f"const all = new Latencies(); const out = []; for (const run of {json.dumps(times.tolist())}) {{"
    script += "all.add({ preparation: 0, run, total: run }); out.push([all.median('run'), all.p95('run')]) }"
    (tmp_path / "check.mjs").write_text(script + "console.log(JSON.stringify(out))")
    found = json.loads(called(tool("node"), "check.mjs", cwd=tmp_path))
    for i, (median, p95) in enumerate(found):
        last = times[max(0, i - 99) : i + 1]
        assert median == pytest.approx(np.median(last), rel=1e-12)
        assert p95 is None if i < 19 else p95 == pytest.approx(np.quantile(last, 0.95), rel=1e-12)


def without_glue(folder):
    shutil.rmtree(folder / "typescript")


def other_task(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"image-classification"', '"tensors"'))


WRONG_BUNDLES = {
    "none": (shutil.rmtree, "is no bundle"),
    "no glue code": (without_glue, "found no glue code in typescript/, expected a bundle for the web"),
    "another task": (other_task, "found the task tensors, this app shows models of image-classification"),
    "changed": (overwritten("student-int8.onnx", b"changed"), "student-int8.onnx has another SHA-256"),
}


@pytest.mark.parametrize("name", WRONG_BUNDLES)
def test_the_build_refuses_other_bundles(app, bundles, tmp_path, name):
    change, expected = WRONG_BUNDLES[name]
    folder = shutil.copytree(bundles["web"], tmp_path / "web")
    change(folder)
    done = build(app, folder, tmp_path / "dist")
    assert done.returncode == 2
    assert expected in done.stderr
    assert "\n    at " not in done.stderr
    assert not (tmp_path / "dist").exists()


def test_the_build_replaces_no_other_folder(app, bundles, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    done = build(app, bundles["web"], tmp_path)
    assert (done.returncode, (tmp_path / "kept.txt").read_text()) == (2, "mine")
    assert f"--out {tmp_path}: found files that are no build of this page" in done.stderr


def test_the_app_pins_the_versions_that_are_tested():
    pinned = json.loads((APP / "package.json").read_text())["devDependencies"]
    tested = json.loads((APP.parent.parent / "tests/glue/typescript/package.json").read_text())["devDependencies"]
    assert pinned == {name: tested[name] for name in pinned}
