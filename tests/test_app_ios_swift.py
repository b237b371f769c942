"""The sample app for iPhone: its measuring code runs on Linux, the host takes its records, and its screens fit Apple's declarations.

It needs Swift, as the slow tests of `test_glue_swift.py`. Nothing here builds the app: that needs Xcode.
"""

import json
import re
import shutil
from itertools import pairwise

import pytest
from test_app_ios import APP, BUNDLE, NONCE, OWN, PURE, SWIFT, TESTS, text
from test_glue_swift import HERE as GLUE
from test_glue_swift import IMAGES, SHARED, called, compiled, filled, prefix, sha256, write_bundle

from edgedistill.errors import DeviceFailed
from edgedistill.measure import app_records, app_runner
from edgedistill.measure.harness import Protocol
from edgedistill.measure.records import to_execution
from edgedistill.measure.runner.interval import lower_rank, relative_half_width
from edgedistill.measure.runner.steady import is_steady

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The measuring code, without a phone, beside the module of the glue code: a program."""
    prefix()
    folder = tmp_path_factory.mktemp("app")
    glue = [*SHARED.glob("*.swift"), *IMAGES, GLUE / "Generated.swift", GLUE / "MeanRuntime.swift"]
    package = {
        "Crypto": [GLUE / "Crypto/Crypto.swift"],
        "QuickstartModel": glue,
        "SampleModel": [APP / "Model/Sources/SampleModel/BundlePackage.swift"],
    }
    for name, sources in package.items():
        library = ["-emit-module", "-emit-library", "-static", "-module-name", name, "-o", f"lib{name}.a"]
        compiled("-O", "-wmo", *library, *sources, cwd=folder)
    compiled(
        "-O", "-wmo", "-L", ".", "-lSampleModel", "-lQuickstartModel", "-lCrypto", "-o", "sample", *PURE, OWN / "Main.swift", cwd=folder
    )
    return folder / "sample"


def measured(program, folder, job, *more):
    """What the program printed, and what it wrote."""
    done = called(program, job, folder / "documents", *more, cwd=folder / "bundle")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, (folder / "documents" / json.loads(job)["out"]).read_bytes()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bundle").mkdir()
    write_bundle(tmp_path / "bundle")
    return tmp_path


def test_the_host_takes_what_the_app_writes(program, folder):
    old = folder / "documents/edgedistill/old.jsonl"
    old.parent.mkdir(parents=True)
    for path in (old, old.with_name("job.json")):
        path.write_text("{}")
    digest = sha256((folder / "bundle/float.mean").read_bytes())
    printed, data = measured(program, folder, app_runner.app_job(NONCE, "float.mean", digest, Protocol("quick", threads=2, seconds=2.5)))
    assert printed.startswith("failure none\n")
    assert [path.name for path in old.parent.iterdir()] == [f"{NONCE}.jsonl"]
    assert all(line.startswith(b'{"type":"') for line in data.splitlines())
    records = app_records.read(data, NONCE)
    start = app_records.about(records)
    assert (start.artifact, start.sha256, start.threads) == ("float.mean", digest, 2)
    assert start.versions == {"meanruntime": "1.9.1"}
    kinds = [record["type"] for record in records]
    assert (kinds[:3], kinds[-2:]) == (["start", "clock", "sensors"], ["clock", "end"])
    [sensors] = [record for record in records if record["type"] == "sensors"]
    assert [entry["name"] for entry in sensors["available"]] == ["thermal.state", "memory.footprint"]
    assert sensors["unavailable"] == [{"name": "battery.level", "unit": "unit", "reason": "the system does not tell it"}]
    sweeps = [record for record in records if record["type"] == "sensor"]
    assert len(sweeps) >= 3
    assert all(0.99e9 < later["t_ns"] - one["t_ns"] < 1.5e9 for one, later in pairwise(sweeps))
    batches = [record for record in records if record["type"] == "iterations"]
    assert all(sum(one["durations_ns"]) <= later["t0_ns"] - one["t0_ns"] >= 1e8 for one, later in pairwise(batches))
    assert batches[-1]["t0_ns"] - batches[0]["t0_ns"] > 2.3e9
    [memory] = [record for record in records if record["type"] == "memory"]
    assert (memory["rss_runtime_loaded"], memory["source"]) == (1000, "the test; the load raised it")
    begin = next(record["monotonic_ns"] for record in records if record["type"] == "clock")
    own = [
        {"type": "start", "nonce": NONCE, "versions": {}, "facts": {}}, {"type": "phase", "name": "work", "t_ns": begin - 10**9},
        {"type": "program"}, {"type": "phase", "name": "end", "t_ns": begin + 10**12},
    ]  # fmt: skip
    found = to_execution(app_records.merged(own, records), None)
    assert len(found.raw_durations_ns) >= 50
    assert 0 < found.latency_ms.p50 < 10
    assert found.load_ms.cold > 0 < found.load_ms.warm
    assert found.steady in (True, False)


def test_the_rules_are_those_of_the_runner(program, folder):
    printed, _ = measured(program, folder, app_runner.app_job(NONCE, "none.mean", "", Protocol("quick")))
    ranks = {int(n): int(rank) for n, rank in re.findall(r"rank (\d+) (\d+)", printed)}
    assert ranks == {n: lower_rank(n, 0.95) for n in (5, 6, 50, 1000, 100_000)}
    steady = {float(step): answer for step, answer in re.findall(r"steady ([\d.e-]+) (\w+)", printed)}
    assert steady == {step: str(is_steady([100 * (1 + step * i) for i in range(9)], 0.02)).lower() for step in (0.0, 0.0001, 0.01, 0.05)}
    assert set(steady.values()) == {"true", "false"}
    assert "steady noise true" in printed
    assert float(printed.split("width ")[1]) == pytest.approx(relative_half_width(range(1, 1002)))


WRONG = {
    "no such file": ({"artifact": "none.mean"}, [], r"ModelError: found no artifact none\.mean"),
    "hidden": ({}, [20], "MeasureError: the app left the foreground"),
    "another schema": ({"schema": 4}, [], "found a job of schema 4, task run, expected schema 3, task run"),
    "another task": ({"task": "stress"}, [], "found a job of schema 3, task stress"),
    "no threads": ({"threads": None}, [], r"the job is not one of docs/devices\.md: .*threads"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_is_the_last_record(program, folder, name):
    changes, more, message = WRONG[name]
    job = json.loads(app_runner.app_job(NONCE, "float.mean", "", Protocol("quick"))) | changes
    printed, data = measured(program, folder, json.dumps(job), *more)
    assert not printed.startswith("failure none")
    with pytest.raises(DeviceFailed, match=message):
        app_records.read(data, NONCE)


@pytest.mark.parametrize(
    "out", ["../x.jsonl", f"edgedistill/../{NONCE}.jsonl", "edgedistill/.jsonl", f"other/{NONCE}.jsonl", f"{NONCE}.jsonl"]
)
def test_nothing_is_written_elsewhere(program, folder, out):
    job = json.loads(app_runner.app_job(NONCE, "float.mean", "", Protocol("quick"))) | {"out": out}
    done = called(program, json.dumps(job), folder / "documents", cwd=folder / "bundle")
    assert done.stdout.startswith(f"failure found the file {out}, expected edgedistill/NONCE.jsonl")
    assert not list(folder.rglob("*.jsonl"))


def test_the_screens_fit_the_documented_declarations(tmp_path):
    """Types, effects and data races; the declarations are the tests' own, so this is no compile for Apple."""
    prefix()
    declared = GLUE / "declarations"
    modules = {
        "CoreGraphics": [declared / "CoreGraphics.swift"], "CoreVideo": [declared / "CoreVideo.swift"],
        "ImageIO": [declared / "ImageIO.swift", OWN / "declarations/AppImageIO.swift"],
        "UIKit": [declared / "UIKit.swift", OWN / "declarations/AppUIKit.swift"],
        **{name: [OWN / f"declarations/{name}.swift"] for name in ("os", "AVFoundation", "SwiftUI", "PhotosUI")},
        "Crypto": [GLUE / "Crypto/Crypto.swift"],
        "QuickstartModel": [
            *SHARED.glob("*.swift"), *IMAGES, GLUE / "Generated.swift", GLUE / "MeanRuntime.swift"
        ],
        "SampleModel": [APP / "Model/Sources/SampleModel/BundlePackage.swift"],
    }  # fmt: skip
    for name, sources in modules.items():
        compiled("-emit-module", "-module-name", name, "-o", f"{name}.swiftmodule", *sources, cwd=tmp_path)
    compiled("-typecheck", "-module-name", "Sample", *SWIFT, cwd=tmp_path)
    compiled("-typecheck", "-module-name", "SampleTests", *TESTS, OWN / "declarations/AppXCTest.swift", cwd=tmp_path)
    broken = tmp_path / "Camera.swift"
    source = text("Sample/Camera.swift")
    broken.write_text(source.replace("orientation: .right", "orientation: .east"))
    others = [path for path in SWIFT if path.name != broken.name]
    with pytest.raises(AssertionError, match="has no member 'east'"):
        compiled("-typecheck", "-module-name", "Sample", *others, broken, cwd=tmp_path)


def test_the_app_gets_the_model_by_a_package_of_its_own(tmp_path):
    """By the package manager on Linux, with the bundle's own Package.swift and a part of its sources; Xcode has rules of its own."""
    prefix()
    bundle = tmp_path / BUNDLE
    for folder in ("swift/Sources", "swift/Tests"):
        (bundle / folder).mkdir(parents=True)
    write_bundle(bundle)
    (bundle / "README.md").write_text("A bundle.")
    (bundle / "Package.swift").write_text(filled("Package.swift"))
    (bundle / "swift/Sources/Part.swift").write_text("public let part = 1\n")
    (bundle / "swift/Tests/None.swift").write_text("import XCTest\n")
    package = tmp_path / "apps/ios/Model"
    shutil.copytree(APP / "Model", package, ignore=shutil.ignore_patterns(".build"))
    (package / "Sources/SampleModel/Use.swift").write_text("let used = part\n")
    done = called("swift", "build", "--disable-sandbox", cwd=package)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "warning:" not in done.stdout + done.stderr
