"""Bundles: what is written, what is checked, and what an app is told of a new one."""

import hashlib
import json
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import edgedistill
from made_documents import made_result

from edgedistill.bundle.archive import write_archive
from edgedistill.bundle.check import check_bundle
from edgedistill.bundle.diff import diff_bundles
from edgedistill.bundle.ship import ship
from edgedistill.bundle.signing import public_key
from edgedistill.errors import UserError
from edgedistill.records import Score, Scores, Unavailable
from edgedistill.records.documents import documents
from edgedistill.records.metric import Metric
from edgedistill.records.results import Quantization
from edgedistill.steps.bundle import bundle

METRIC = Metric("accuracy", "accuracy")


@pytest.fixture(scope="module")
def bundles(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles of two targets, as folders and .zip files."""
    out = tmp_path_factory.mktemp("bundles")
    bundle(tiny / "runs/tiny", ["linux", "ios"], out)
    return out


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def rewritten(folder: Path, change: Callable[[dict], object]) -> Path:
    """The bundle in `folder` after `change` of its manifest."""
    manifest = manifest_of(folder)
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def copy(bundles: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundles / "linux", tmp_path / "linux")


def test_the_command_writes_a_folder_and_the_same_bytes_each_time(tiny: Path, tmp_path: Path) -> None:
    first, second = (
        edgedistill("bundle", tiny / "runs/tiny", "--target", "linux", "--out", tmp_path / name, "--json", cwd=tmp_path) for name in "ab"
    )
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    document = json.loads(first.stdout)
    jsonschema.validate(document, documents()["bundle"].model_json_schema(mode="serialization", by_alias=True))
    assert document["sha256"] == json.loads(second.stdout)["sha256"]
    archive = Path(document["archives"]["linux"])
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == document["sha256"]["linux"]
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
    assert names == {p.relative_to(tmp_path / "a/linux").as_posix() for p in (tmp_path / "a/linux").rglob("*") if p.is_file()}
    assert {"README.md", "manifest.json", "student-int8.onnx", "golden/inputs/image.npy", "golden/frames/0.bin"} <= names
    assert any(name.endswith(".whl") for name in names)
    assert document["ship"]["linux"]["order"][0].startswith("student-")


def test_the_manifest_keeps_to_its_published_schema_and_says_everything(bundles: Path) -> None:
    schema = documents()["manifest"].model_json_schema(mode="serialization", by_alias=True)
    for target in ("linux", "ios"):
        manifest = manifest_of(bundles / target)
        jsonschema.validate(manifest, schema)
        assert manifest["schema"] == "edgedistill/manifest/3"
        listed = set(manifest["files"]) | {"manifest.json"}
        assert listed == {p.relative_to(bundles / target).as_posix() for p in (bundles / target).rglob("*") if p.is_file()}
        for entry in manifest["artifacts"]:
            assert entry["operators"]
            assert entry["minimum_os"] or entry["minimum_runtime"]
            assert entry["golden"]["tolerance"]["logits"] > 0
            assert (entry["quantized"] == {}) == (entry["precision"] != "int8")
    manifest = manifest_of(bundles / "linux")
    assert manifest["preprocessing"]["inputs"]["image"]["resize"] == {"shorter_side": 32, "filter": "triangle", "antialias": True}
    assert manifest["licenses"]["data"]["unavailable"] == "the recipe does not say it (licenses.data)"
    assert len(manifest["golden_frames"]) == 6


def test_an_int8_output_may_differ_by_two_steps(bundles: Path) -> None:
    manifest = manifest_of(bundles / "linux")
    (entry,) = [entry for entry in manifest["artifacts"] if entry["name"] == "student-int8.onnx"]
    assert entry["golden"]["tolerance"]["logits"] == pytest.approx(2 * manifest["model"]["output_scale"]["logits"])
    (entry,) = [entry for entry in manifest["artifacts"] if entry["name"] == "student-fp32.onnx"]
    golden = np.load(bundles / "linux" / entry["golden"]["outputs"]["logits"]["path"])
    assert entry["golden"]["tolerance"]["logits"] == pytest.approx(1e-4 * np.abs(golden).max())


def test_the_readme_says_first_what_to_ship(bundles: Path) -> None:
    lines = (bundles / "linux/README.md").read_text().splitlines()
    first = manifest_of(bundles / "linux")["ship"]["order"][0]
    assert lines[2] == f"**Ship `{first}`.** Why:"
    assert lines[4].startswith("- Executed by its own runtime")
    assert any(line.startswith("1. Install the package") for line in lines)


def test_whole_bundles_are_right(bundles: Path) -> None:
    for name in ("linux", "linux.zip", "ios", "ios.zip"):
        assert check_bundle(bundles / name).problems == []


SMALL = "README.md"


def test_what_was_changed_is_named(copy: Path) -> None:
    path = copy / "student-int8.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    (problem,) = check_bundle(copy).problems
    assert problem.startswith("student-int8.onnx has the SHA-256 ")
    assert "it was changed or damaged" in problem


def test_what_is_missing_or_not_listed_is_named(copy: Path) -> None:
    (copy / SMALL).unlink()
    (copy / "extra.txt").write_text("mine")
    assert check_bundle(copy).problems == [
        "README.md is missing; get the bundle again",
        "extra.txt: not listed in manifest.json; remove it",
    ]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("edgedistill/manifest/4", "which is newer than edgedistill/manifest/3; update edgedistill, and the app's glue code"),
        ("edgedistill/manifest/2", "which is older than edgedistill/manifest/3; write the bundle again"),
        ("other/manifest/1", "expected edgedistill/manifest/3"),
        (3, "expected edgedistill/manifest/3"),
    ],
)
def test_a_manifest_of_another_schema_is_named(copy: Path, schema: object, said: str) -> None:
    (problem,) = check_bundle(rewritten(copy, lambda m: m.update(schema=schema))).problems
    assert said in problem


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": "edgedistill/manifest/3"}', "[" * 5000])
def test_a_manifest_that_is_damaged_is_named(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    (problem,) = check_bundle(copy).problems
    assert problem.startswith("manifest.json ")


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "a/../../b", "C:/x", "a\\b", ""])
def test_a_path_that_leads_out_is_named(copy: Path, path: str) -> None:
    problems = check_bundle(rewritten(copy, lambda m: m["files"].update({path: "0" * 64}))).problems
    assert len(problems) == 1
    assert "which is not allowed" in problems[0]


def test_a_link_is_named(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (copy / SMALL).unlink()
    (copy / SMALL).symlink_to(tmp_path / "outside")
    assert "README.md is a link, expected a file: a bundle has no links" in check_bundle(copy).problems


def test_labels_of_another_number_are_named(copy: Path) -> None:
    problems = check_bundle(rewritten(copy, lambda m: m["labels"].pop())).problems
    assert problems[0] == "found 9 labels, expected 10, as the output logits of student-int8.onnx has"
    assert "expected a list of texts" in check_bundle(rewritten(copy, lambda m: m.update(labels=3))).problems[0]


def test_golden_values_of_another_shape_are_named(copy: Path) -> None:
    wrong = np.zeros((16, 3, 31, 32), np.float32)
    np.save(copy / "golden/inputs/image.npy", wrong)
    digest = hashlib.sha256((copy / "golden/inputs/image.npy").read_bytes()).hexdigest()
    problems = check_bundle(rewritten(copy, lambda m: m["files"].update({"golden/inputs/image.npy": digest}))).problems
    said = "golden/inputs/image.npy: found float32[16, 3, 31, 32], expected 16 samples of image=float32[1,3,32,32]"
    assert set(problems) == {said}


def test_a_runtime_that_is_too_old_is_named(copy: Path) -> None:
    problems = check_bundle(copy, runtimes={"onnxruntime": "1.9"}).problems
    assert problems[0].startswith("student-int8.onnx needs onnxruntime 1.18 or later, found 1.9; update it in the app")
    assert check_bundle(copy, runtimes={"onnxruntime": "1.18.0", "executorch": "1.10"}).problems == []
    with pytest.raises(UserError, match="found the version 'new'"):
        check_bundle(copy, runtimes={"onnxruntime": "new"})


def altered(archive: Path, target: Path, change: Callable[[zipfile.ZipFile], None]) -> Path:
    shutil.copyfile(archive, target)
    with zipfile.ZipFile(target, "a") as opened:
        change(opened)
    return target


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda z: z.writestr("../x", "x"), "the path '../x' is not allowed: it has '..'"),
        (lambda z: z.writestr("/x", "x"), "the path '/x' is not allowed: it is absolute"),
        (lambda z: z.writestr(link("x"), "/etc/passwd"), "x is a link, expected a file"),
        (lambda z: z.writestr("x", bytes(2**25), zipfile.ZIP_DEFLATED), "it was made to fill a disk"),
    ],
)
def test_archives_that_do_harm_are_named(bundles: Path, tmp_path: Path, change: Callable, said: str) -> None:
    problems = check_bundle(altered(bundles / "linux.zip", tmp_path / "bad.zip", change)).problems
    assert any(said in problem for problem in problems), problems


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_named(bundles: Path, tmp_path: Path) -> None:
    problems = check_bundle(altered(bundles / "linux.zip", tmp_path / "bad.zip", lambda z: z.writestr(SMALL, "other"))).problems
    assert "README.md is there twice" in problems


def test_an_archive_that_is_cut_off_is_one_error(bundles: Path, tmp_path: Path) -> None:
    data = (bundles / "linux.zip").read_bytes()
    for length in (0, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.zip").write_bytes(data[:length])
        with pytest.raises(UserError, match=r"is no \.zip file, or it is cut off"):
            check_bundle(tmp_path / "cut.zip")


def test_bytes_that_were_changed_in_an_archive_are_named(bundles: Path, tmp_path: Path) -> None:
    data = bytearray((bundles / "linux.zip").read_bytes())
    with zipfile.ZipFile(bundles / "linux.zip") as opened:
        offset = opened.getinfo("student-int8.onnx").header_offset
    data[offset + 5000] ^= 1
    (tmp_path / "changed.zip").write_bytes(data)
    (problem,) = check_bundle(tmp_path / "changed.zip").problems
    assert "student-int8.onnx" in problem
    assert "get the bundle again" in problem


def test_a_bundle_is_signed_by_the_owner_of_a_key(tiny: Path, tmp_path: Path) -> None:
    for name in ("mine", "other"):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", f"{name}.pem"], cwd=tmp_path, check=True)
        subprocess.run(["openssl", "pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub"], cwd=tmp_path, check=True)
    run = tiny / "runs/tiny"
    done = edgedistill("bundle", run, "--target", "linux", "--out", tmp_path / "out", "--sign", tmp_path / "mine.pem", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    signed, other = tmp_path / "out/linux", public_key(tmp_path / "other.pub")
    assert check_bundle(signed).problems == []
    checked = edgedistill("bundle", "check", f"{signed}.zip", "--public-key", tmp_path / "mine.pub", "--json", cwd=tmp_path)
    assert (checked.returncode, json.loads(checked.stdout)["signed"]) == (0, True)
    (problem,) = check_bundle(signed, key=other).problems
    assert "is not the signature of manifest.json by this key" in problem
    rewritten(signed, lambda m: m.update(name="changed"))
    assert "is not the signature" in check_bundle(signed, key=public_key(tmp_path / "mine.pub")).problems[0]
    (signed / "manifest.sig").unlink()
    assert "manifest.sig is missing" in check_bundle(signed, key=other).problems[0]
    with pytest.raises(UserError, match=r"other\.pub holds no private key .* `openssl genpkey"):
        bundle(run, ["linux"], tmp_path / "out2", key=tmp_path / "other.pub")
    # A bundle that is written again without a key has no old signature.
    bundle(run, ["linux"], tmp_path / "out")
    assert not (signed / "manifest.sig").exists()


def test_check_fails_with_3_and_prints_every_problem(copy: Path) -> None:
    (copy / SMALL).write_text("changed")
    done = edgedistill("bundle", "check", copy, cwd=copy.parent)
    assert done.returncode == 3
    assert done.stdout.startswith("WRONG: README.md has the SHA-256 ")
    done = edgedistill("bundle", "check", copy, "--json", cwd=copy.parent)
    jsonschema.validate(json.loads(done.stdout), documents()["bundle-check"].model_json_schema(mode="serialization", by_alias=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bundle", "runs/none"], "runs/none is not a run"),
        (["bundle", "runs/tiny", "--target", "ios-coreai"], "make it with `edgedistill export runs/tiny --target ios-coreai`"),
        (["bundle", "check", "runs/none"], "found no bundle at runs/none"),
        (["bundle", "check", "runs", "--runtime", "onnxruntime"], "found 'onnxruntime', expected NAME=VERSION"),
        (["bundle", "diff", "runs", "runs"], "runs has no manifest.json"),
    ],
)
def test_mistakes_are_one_error(tiny: Path, arguments: list[str], said: str) -> None:
    done = edgedistill(*arguments, cwd=tiny)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_file_that_changed_since_it_was_verified_is_not_bundled(tiny: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny / "runs/tiny", tmp_path / "tiny", symlinks=True)
    path = run / "artifacts/student-int8.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match="it changed since it was verified"):
        bundle(run, ["linux"], tmp_path / "out")
    assert not (tmp_path / "out/linux").exists()


def test_diff_says_what_an_app_has_to_change(bundles: Path, copy: Path) -> None:
    assert diff_bundles(bundles / "linux", bundles / "linux.zip").changes == []

    def change(manifest: dict) -> None:
        manifest["labels"][3] = "three"
        manifest["preprocessing"]["inputs"]["image"]["resize"]["shorter_side"] = 40
        manifest["artifacts"][0]["minimum_runtime"] = {"onnxruntime": "1.20"}
        manifest["artifacts"][0]["signature"]["inputs"][0]["shape"] = [1, 3, 40, 40]
        manifest["artifacts"][1]["sha256"] = "0" * 64

    found = diff_bundles(bundles / "linux", rewritten(copy, change))
    assert not found.replaceable
    by_part = {one.part: one for one in found.changes}
    assert set(by_part) == {
        "preprocessing.inputs.image.resize.shorter_side", "labels", "student-int8.onnx: signature", "student-int8.onnx: onnxruntime",
        "student-fp32.onnx: bytes",
    }  # fmt: skip
    assert by_part["student-int8.onnx: onnxruntime"].app == "The app needs onnxruntime 1.20 or later."
    assert by_part["student-fp32.onnx: bytes"].app is None
    assert "glue code" in by_part["labels"].app


def test_new_weights_need_no_change_of_an_app(bundles: Path, copy: Path) -> None:
    found = diff_bundles(bundles / "linux", rewritten(copy, lambda m: m["artifacts"][0].update(sha256="0" * 64, bytes=7)))
    assert found.replaceable
    assert [one.part for one in found.changes] == ["student-int8.onnx: bytes"]


def test_an_archive_replaces_only_archives(bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "linux.zip").write_text("mine")
    with pytest.raises(UserError, match=r"linux\.zip is no \.zip file, and the bundle would replace it"):
        write_archive(bundles / "linux", tmp_path / "linux.zip")
    assert (tmp_path / "linux.zip").read_text() == "mine"


def artifact(precision: str, **fields: object):
    return made_result(
        "onnx", precision, score=Scores(val=Score(value=0.9, n=10, interval=(0.8, 1)), holdout=Unavailable(unavailable="")), **fields
    )


def quantized(**fields: object) -> Quantization:
    unknown = Unavailable(unavailable="not asked for")
    values = {
        "twin": "student-fp32.onnx",
        "flips": 0,
        "n": 10,
        "difference": -0.01,
        "interval": unknown,
        "bytes_ratio": 0.25,
        "speedup": 2.0,
    }
    return Quantization(**values | {"advice": None} | fields)


def order(*artifacts) -> list[str]:
    return [name.removeprefix("student-").removesuffix(".onnx") for name in ship(artifacts, METRIC).order]


def test_int8_is_shipped_unless_it_loses_accuracy_or_time() -> None:
    floating = artifact("fp32")
    assert order(floating, artifact("int8", quantization=quantized())) == ["int8", "fp32"]
    assert order(floating, artifact("int8", quantization=quantized(loses=True))) == ["fp32", "int8"]
    slow = artifact("int8", quantization=quantized(advice="int8 is slower: ship student-fp32.onnx"))
    assert order(floating, slow) == ["fp32", "int8"]
    assert ship([floating, slow], METRIC).others[0].reasons[-1] == "int8 is slower: ship student-fp32.onnx."


def test_what_failed_is_not_shipped_and_what_nothing_executed_comes_last() -> None:
    waiting, failed = artifact("int8", quantization=quantized(), ok=None), artifact("int8", ok=False)
    assert order(waiting, artifact("fp32")) == ["fp32", "int8"]
    assert ship([waiting], METRIC).first.reasons[0].startswith("Not verified: ")
    assert ship([failed], METRIC).first == Unavailable(unavailable="none of its artifacts was made and verified")
    assert ship([failed], METRIC, {"a.pte": "no operator sort"}).missing == [
        "a.pte was not made: no operator sort. Mend that, and run `edgedistill export` again.",
        "student-int8.onnx failed its check: the report names the first layer that differs.",
    ]


def test_an_archive_that_may_be_older_than_its_folder_is_told(tiny: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny / "runs/tiny", tmp_path / "runs/tiny", symlinks=True)
    assert ".zip" not in edgedistill("report", run, cwd=tmp_path).stderr
    bundle(run, ["linux"])
    said = edgedistill("report", run, cwd=tmp_path).stderr
    assert "linux.zip stays as it was and may be older" in said
    assert f"`edgedistill bundle {run}` writes it again" in said
