"""The sample app for Android: its measuring code runs on the JVM, and the host takes its records. Its screens need Gradle and an SDK."""

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from filelock import FileLock
from test_glue_kotlin import JSON_JAR, Bundle, compile_kotlin, jars, pure

from edgedistill.errors import DeviceFailed
from edgedistill.measure import app_android, app_records, app_runner
from edgedistill.measure.harness import Protocol
from edgedistill.measure.records import to_execution
from edgedistill.measure.runner.interval import lower_rank, relative_half_width
from edgedistill.measure.runner.steady import is_steady

APP = Path(__file__).parents[1] / "apps/android"
KOTLIN = APP / "app/src/main/java/edgedistill/sample"
ANDROID = "{http://schemas.android.com/apk/res/android}"
NONCE = "0f" * 16


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """The app's Measuring.kt with the glue code of the tests, compiled: the class path to run it."""
    folder = tmp_path_factory.mktemp("app")
    glue, (compiler, library) = compile_kotlin(pure()), jars()
    source = (KOTLIN / "Measuring.kt").read_text()
    assert "import android" not in source
    (folder / "Measuring.kt").write_text(source.replace("edgedistill.models.quickstart", "edgedistill.glue"))
    shutil.copy(Path(__file__).parent / "app_android/Main.kt", folder)
    path = f"{library}:{compiler}:{JSON_JAR}:{glue}"
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(compiler), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    options = ["-no-stdlib", "-no-reflect", "-jvm-target", "11", "-Werror", "-cp", path, "-d", str(folder / "out")]
    with FileLock(Path(sys.prefix) / "app-android.lock"):
        done = subprocess.run(
            [*command, *options, folder / "Measuring.kt", folder / "Main.kt"], capture_output=True, text=True, timeout=600
        )
    assert done.returncode == 0, done.stderr[-4000:]
    return f"{folder / 'out'}:{path}"


def measured(classes, folder, job, *more):
    """What the app printed, and what it wrote."""
    bundle = folder / "bundle"
    command = ["java", "-XX:+UseSerialGC", "-cp", classes, "edgedistill.sample.MainKt", job, bundle, folder, *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, (folder / json.loads(job)["out"]).read_bytes()


def test_the_host_takes_what_the_app_writes(classes, tmp_path):
    bundle = Bundle(tmp_path / "bundle")
    digest = bundle.sha256("model.npy")
    printed, data = measured(classes, tmp_path, app_runner.app_job(NONCE, "model.npy", digest, Protocol("quick", threads=2)))
    records = app_records.read(data, NONCE)
    start = app_records.about(records)
    assert (start.artifact, start.sha256, start.threads) == ("model.npy", digest, 2)
    assert list(start.versions) == ["matrix-runtime"]
    begin = next(record["monotonic_ns"] for record in records if record["type"] == "clock")
    own = [
        {"type": "start", "nonce": NONCE, "versions": {}, "facts": {}}, {"type": "phase", "name": "work", "t_ns": begin - 10**9},
        {"type": "program"}, {"type": "phase", "name": "end", "t_ns": begin + 10**12},
    ]  # fmt: skip
    found = to_execution(app_records.merged(own, records), None)
    assert len(found.raw_durations_ns) >= 50
    # The runtime of the tests sleeps for a millisecond.
    assert 1.0 < found.latency_ms.p50 < 50
    assert found.load_ms.cold > 0 < found.load_ms.warm
    assert found.steady in (True, False)

    ranks = {int(n): int(rank) for n, rank in re.findall(r"rank (\d+) (\d+)", printed)}
    assert ranks == {n: lower_rank(n, 0.95) for n in (5, 6, 50, 1000, 100_000)}
    steady = {float(step): answer for step, answer in re.findall(r"steady ([\d.E-]+) (\w+)", printed)}
    assert steady == {step: str(is_steady([100 * (1 + step * i) for i in range(9)], 0.02)).lower() for step in (0.0, 0.0001, 0.01, 0.05)}
    assert set(steady.values()) == {"true", "false"}
    assert "steady noise true" in printed
    assert float(printed.split("width ")[1]) == pytest.approx(relative_half_width(range(1, 1002)))


def test_an_app_that_is_hidden_writes_an_error(classes, tmp_path):
    Bundle(tmp_path / "bundle")
    _, data = measured(classes, tmp_path, app_runner.app_job(NONCE, "model.npy", "", Protocol("quick")), 20)
    with pytest.raises(DeviceFailed, match="IllegalStateException: not in front any more"):
        app_records.read(data, NONCE)


def test_a_file_that_the_app_lacks_is_an_error(classes, tmp_path):
    Bundle(tmp_path / "bundle")
    _, data = measured(classes, tmp_path, app_runner.app_job(NONCE, "none.npy", "", Protocol("quick")))
    with pytest.raises(DeviceFailed, match=r"found no artifact none\.npy"):
        app_records.read(data, NONCE)


def test_adb_alone_may_start_the_measuring_screen():
    manifest = ET.parse(APP / "app/src/main/AndroidManifest.xml").getroot()
    screens = {one.get(f"{ANDROID}name"): one for one in manifest.iter("activity")}
    screen = screens[app_android.ACTIVITY]
    assert screen.get(f"{ANDROID}exported") == "true"
    assert screen.get(f"{ANDROID}permission") == "android.permission.DUMP"
    build = (APP / "app/build.gradle.kts").read_text()
    assert re.search(r'namespace = "(.*)"', build)[1] == re.search(r'applicationId = "(.*)"', build)[1]


def test_all_texts_of_the_screens_are_there():
    used = {name for path in KOTLIN.glob("*.kt") for name in re.findall(r"R\.string\.(\w+)", path.read_text())}
    known = {one.get("name") for one in ET.parse(APP / "app/src/main/res/values/strings.xml").getroot()}
    assert used | {"app_name"} == known
