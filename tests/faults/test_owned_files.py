"""Nothing of a user's is deleted or overwritten: only what edgedistill wrote itself, and only where its own mark says so."""

import json
from pathlib import Path

import pytest

from edgedistill.bundle import folder as bundle
from edgedistill.errors import UserError
from edgedistill.files import write_json
from edgedistill.run import Run, Step
from edgedistill.runs import open_run

OURS = {"schema": "edgedistill/manifest/2", "files": {"a.onnx": "", "golden/inputs/x.npy": ""}}


def made(folder: Path, manifest: object, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    if manifest is not None:
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return folder


def test_a_bundle_of_ours_is_removed_whole(tmp_path: Path) -> None:
    folder = made(tmp_path / "android", OURS, "a.onnx", "golden/inputs/x.npy")
    bundle.remove(folder)
    assert not folder.exists()
    bundle.remove(folder)
    folder.mkdir()
    bundle.check(folder)


def test_a_bundle_without_a_list_of_its_files_is_known_by_what_it_names(tmp_path: Path) -> None:
    entry = {"name": "a.mlpackage", "sha256": "", "golden": {"inputs": {"x": {"path": "golden/inputs/x.npy", "sha256": ""}}}}
    manifest = {"schema": "edgedistill/manifest/2", "target": {"name": "ios"}, "artifacts": [entry]}
    folder = made(tmp_path / "ios", manifest, "a.mlpackage/Data/model", "a.mlpackage/Manifest.json", "golden/inputs/x.npy")
    (folder / "App.swift").write_text("mine")
    with pytest.raises(UserError, match=r"holds App\.swift, which"):
        bundle.remove(folder)
    (folder / "App.swift").unlink()
    bundle.remove(folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("manifest", "files", "named"),
    [
        (OURS, ("a.onnx", "notes.txt"), "holds notes.txt, which edgedistill did not write"),
        (OURS, ("a.onnx", "golden/inputs/mine.npy"), "holds golden/inputs/mine.npy"),
        ({"schema": "edgedistill/manifest/1", "artifacts": []}, ("a.onnx",), "holds a.onnx, manifest.json"),
        ({"name": "a web app", "icons": []}, ("index.html",), "holds index.html, manifest.json"),
        ("[1, 2", (), "holds manifest.json"),
        ("[1, 2]", (), "holds manifest.json"),
        (OURS | {"files": 3}, ("a.onnx",), "holds a.onnx, manifest.json"),
        (None, ("1", "2", "3", "4", "5"), "holds 1, 2, 3 and 2 more"),
    ],
)
def test_a_folder_with_anything_else_stays_as_it_is(manifest: object, files: tuple[str, ...], named: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "android", manifest, *files)
    before = sorted(folder.rglob("*"))
    for refuse in (bundle.check, bundle.remove):
        with pytest.raises(UserError, match=named):
            refuse(folder)
    assert sorted(folder.rglob("*")) == before


def test_a_manifest_that_names_files_elsewhere_removes_none_of_them(tmp_path: Path) -> None:
    outside = tmp_path / "precious.txt"
    outside.write_text("mine")
    folder = made(tmp_path / "android", OURS | {"files": {"../precious.txt": "", "a.onnx": ""}}, "a.onnx")
    bundle.remove(folder)
    assert outside.read_text() == "mine"
    assert not folder.exists()


def test_links_and_files_in_the_way_are_refused(tmp_path: Path) -> None:
    real = made(tmp_path / "real", OURS, "a.onnx")
    link, dangling, file = tmp_path / "link", tmp_path / "dangling", tmp_path / "file"
    link.symlink_to(real)
    dangling.symlink_to(tmp_path / "nowhere")
    file.write_text("mine")
    for path, named in (
        (link, "is a link"), (dangling, "is a link"), (file, "is a file"),
        (file / "android", "cannot be made"), (Path("/proc/nothing/android"), "cannot be made"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=named):
            bundle.check(path)
    assert (real / "a.onnx").exists()
    (real / "inner").symlink_to(tmp_path)
    with pytest.raises(UserError, match="holds inner"):
        bundle.remove(real)


def test_fresh_removes_what_steps_wrote_and_leaves_the_users_files(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mine"

    def write(run: Run) -> None:
        run.step(Step("export-onnx", outputs=("artifacts/a.onnx",)), lambda _: run.path("artifacts", "a.onnx").write_text("made") and None)

    with open_run(folder) as run:
        write(run)
        for name in ("report.html", "summary.json", "logs/export-onnx.log"):
            run.path(name).parent.mkdir(exist_ok=True)
            run.path(name).write_text("made")
    mine = ("notes.txt", "artifacts/tuned.onnx", "bundles/android/App.kt", "logs/thoughts.md")
    for name in mine:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    with open_run(folder, fresh=True) as run:
        assert run.result("export-onnx") is None
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert left == sorted([*mine, "work/run.json"])


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    ("mark", "name"), [({"schema": "somebody/else"}, "work/run.json"), ([], "work/run.json"), ({"schema": "edgedistill/run/2"}, "run.json")]
)
def test_a_folder_whose_mark_is_not_ours_is_no_run(mark: object, name: str, tmp_path: Path, *, fresh: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write_json(tmp_path / name, mark)
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"is not a run of edgedistill|is a run of an older version"), open_run(tmp_path, fresh=fresh):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_run_where_none_can_be_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / "dangling", Path("/proc/nothing")):
        with pytest.raises(UserError, match="cannot be made"), open_run(path):
            pass
