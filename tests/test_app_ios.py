"""The sample app for iPhone: its files parse, fit together, and speak of what the host speaks of; `test_app_ios_swift.py` compiles them."""

import json
import plistlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from test_glue_swift import mistakes, without_directives

from edgedistill.measure import app_ios, app_records, app_runner
from edgedistill.measure.harness import Protocol
from edgedistill.measure.job import SCHEMA

APP = Path(__file__).parents[1] / "apps/ios"
OWN = Path(__file__).parent / "app_ios"
SWIFT = sorted((APP / "Sample").rglob("*.swift"))
PURE = sorted((APP / "Sample/Measuring").glob("*.swift"))
TESTS = sorted((APP / "SampleTests").glob("*.swift"))
PACKAGE = sorted((APP / "Model").rglob("*.swift"))
NONCE = "0f" * 16
ID = re.compile(r"[0-9A-F]{24}")
BUNDLE = "runs/quickstart/bundles/ios"


def text(path):
    return (APP / path).read_text()


@pytest.mark.parametrize("path", [*SWIFT, *TESTS, *PACKAGE, *OWN.rglob("*.swift")], ids=lambda path: path.name)
def test_every_file_parses_and_is_short(path):
    source = path.read_text()
    assert mistakes(without_directives(source)) == []
    assert len(source.splitlines()) <= 300
    assert [number for number, line in enumerate(source.splitlines(), 1) if len(line) > 120] == []


def parsed(source):
    """What a project file of Xcode holds: dictionaries, lists and texts, as NeXT's property lists write them."""
    source = re.sub(r"/\*.*?\*/|^//[^\n]*", "", source, flags=re.DOTALL | re.MULTILINE)
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[{}()=;,]|[^\s{}()=;,"]+', source)
    place = iter(tokens)

    def value(token):
        if token == "{":
            found = {}
            while (key := next(place)) != "}":
                assert next(place) == "=", key
                assert key not in found, key
                found[key.strip('"')] = value(next(place))
                assert next(place) == ";", key
            return found
        if token == "(":
            found = []
            while (item := next(place)) != ")":
                found.append(value(item))
                assert next(place) == ",", item
            return found
        assert token not in "}=;,)", token
        return token.strip('"')

    whole = value(next(place))
    assert next(place, None) is None
    return whole


def strings(value):
    """All texts in a value, those of keys too."""
    if isinstance(value, dict):
        return {text for pair in value.items() for part in pair for text in strings(part)}
    return {text for part in value for text in strings(part)} if isinstance(value, list) else {value}


@pytest.fixture(scope="module")
def project():
    return parsed(text("Sample.xcodeproj/project.pbxproj"))


def of_kind(project, kind):
    return [one for one in project["objects"].values() if one["isa"] == kind]


def test_every_reference_of_the_project_resolves(project):
    objects = project["objects"]
    referred = {name for one in [*objects.values(), project["rootObject"]] for name in strings(one) if ID.fullmatch(name)}
    assert referred == set(objects)
    for group in of_kind(project, "PBXFileSystemSynchronizedRootGroup"):
        assert list((APP / group["path"]).rglob("*.swift")), group["path"]
    assert {one["path"] for one in of_kind(project, "PBXFileSystemSynchronizedRootGroup")} == {"Sample", "SampleTests"}
    # Each build phase takes its files from the folder of its target, so that a new file needs no change here.
    for target in of_kind(project, "PBXNativeTarget"):
        assert [objects[name]["path"] for name in target["fileSystemSynchronizedGroups"]] == [target["name"]]
        kinds = [objects[phase]["isa"] for phase in target["buildPhases"]]
        assert kinds == ["PBXSourcesBuildPhase", "PBXFrameworksBuildPhase", "PBXResourcesBuildPhase"]
    settings = [one["buildSettings"] for one in of_kind(project, "XCBuildConfiguration")]
    places = {found["INFOPLIST_FILE"] for found in settings if "INFOPLIST_FILE" in found}
    assert [(APP / place).is_file() for place in places] == [True]
    # Xcode would copy it as a resource too.
    assert not list((APP / "Sample").rglob("*.plist"))


def test_the_app_has_the_model_of_the_bundle_and_the_test_runs_in_the_app(project):
    objects = project["objects"]
    targets = {one["name"]: (name, one) for name, one in objects.items() if one["isa"] == "PBXNativeTarget"}
    (app_id, app), (test_id, test) = targets["Sample"], targets["SampleTests"]
    [product] = [objects[name] for name in app["packageProductDependencies"]]
    assert objects[product["package"]] == {"isa": "XCLocalSwiftPackageReference", "relativePath": "Model"}
    assert {product["productName"]} == {name for path in SWIFT for name in re.findall(r"import (\w+Model)\b", path.read_text())}
    assert f'.library(name: "{product["productName"]}"' in text("Model/Package.swift")
    assert f'"../../../{BUNDLE}"' in text("Model/Package.swift")
    [name] = re.findall(r'name = "(\w+)"', text("Model/Package.swift"))
    assert f"@_exported import {name}\n" in text("Model/Sources/SampleModel/BundlePackage.swift")
    # The bundle has ExecuTorch, which the linker else leaves out in part; see docs/bundles.md.
    configurations = [objects[name]["buildSettings"] for name in objects[app["buildConfigurationList"]]["buildConfigurations"]]
    assert [found["OTHER_LDFLAGS"] for found in configurations] == ["-all_load"] * 2
    linked = [objects[objects[name]["productRef"]] for phase in app["buildPhases"] for name in objects[phase]["files"]]
    assert linked == [product]
    # Linked twice, a runtime would be in the process twice.
    assert test["packageProductDependencies"] == []
    assert not any("SampleModel" in path.read_text() for path in TESTS)
    assert of_kind(project, "PBXProject")[0]["attributes"]["TargetAttributes"][test_id]["TestTargetID"] == app_id
    assert [objects[objects[name]["target"]]["name"] for name in test["dependencies"]] == ["Sample"]
    scheme = ET.parse(APP / "Sample.xcodeproj/xcshareddata/xcschemes/Sample.xcscheme").getroot()
    named = {(one.get("BlueprintIdentifier"), one.get("BuildableName")) for one in scheme.iter("BuildableReference")}
    assert named == {(name, objects[one["productReference"]]["path"]) for name, one in targets.values()}
    assert scheme.find("TestAction").get("buildConfiguration") == "Release"
    assert scheme.find("TestAction//BuildableReference").get("BlueprintIdentifier") == test_id


def test_the_host_may_read_the_documents_and_the_app_may_ask_for_the_camera():
    info = plistlib.loads((APP / "Info.plist").read_bytes())
    assert info["UIFileSharingEnabled"] is True
    assert info["NSCameraUsageDescription"]
    # Camera.swift turns each frame as it lies in a phone that is held upright.
    assert info["UISupportedInterfaceOrientations"] == ["UIInterfaceOrientationPortrait"]
    assert "orientation: .right" in text("Sample/Camera.swift")


def test_the_readme_names_what_is_there(project):
    readme = text("README.md")
    named = set(re.findall(r"^\| `(.*?)` \|", readme, re.MULTILINE))
    assert {str(path.relative_to(APP)) for path in [*SWIFT, *TESTS, *PACKAGE]} <= named
    assert [name for name in named if not (APP / name).exists()] == []
    settings = [one["buildSettings"] for one in of_kind(project, "XCBuildConfiguration")]
    identifiers = {found["PRODUCT_BUNDLE_IDENTIFIER"] for found in settings if "INFOPLIST_FILE" in found}
    assert identifiers == {"edgedistill.sample$(DEVELOPMENT_TEAM)"}
    assert "--app edgedistill.sampleTEAM " in readme
    assert BUNDLE in readme
    for path in re.findall(r"\]\(((?!http)[^)#]+)", readme):
        assert (APP / path).exists(), path
    for path in re.findall(r"`((?:tests|device_tests)/[\w/.]+)`", readme):
        assert (APP / "../.." / path).exists(), path


def test_the_app_reads_the_job_that_the_host_writes():
    job = json.loads(app_runner.app_job(NONCE, "a.pte", "ab", Protocol("standard")))
    source = text("Sample/Measuring/MeasureJob.swift")
    bench, _, rest = source.partition("private static let schema")
    keys = set(re.findall(r'= "(\w+)"', bench))
    assert keys == set(job["bench"])
    # The host itself compares the SHA-256 that the app found.
    read = set(re.findall(r"\blet (\w+): (?:String|Int|Bench)\b", rest)) - {"description"}
    assert read == set(job) - {"sha256"}
    assert f"schema = {SCHEMA}\n" in source
    assert f'task = "{job["task"]}"\n' in source
    assert f'"{app_ios.VARIABLE}"' in text("Sample/SampleApp.swift")
    assert f'"{app_ios.VARIABLE}"' in text("SampleTests/MeasureTests.swift")
    assert f'"{app_ios.JOB_FILE}"' in text("SampleTests/MeasureTests.swift")


def test_the_app_writes_records_that_the_host_knows():
    written = {}
    for source in (path.read_text() for path in PURE):
        for kind, fields in re.findall(r'\bwrite\(\s*"(\w+)",(.*?\])\)', source, re.DOTALL):
            written.setdefault(kind, set(re.findall(r'"(\w+)":', fields)))
    assert set(written) == set(app_records._KINDS)
    for kind, model in app_records._KINDS.items():
        assert {name for name, field in model.model_fields.items() if field.is_required()} <= written[kind], kind


def test_app_and_test_speak_of_the_same_notifications():
    names = re.compile(r'Notification\.Name\("(.*?)"\)|userInfo\?\["(\w+)"\]|userInfo: \["(\w+)"')
    found = [
        {"".join(match) for match in names.findall(text(path))} for path in ("Sample/Measurer.swift", "SampleTests/MeasureTests.swift")
    ]
    assert found[0] == found[1] == {"edgedistill.measure", "edgedistill.measured", "job", "failure"}
