"""Updates: what is published, and how the Python glue code fetches it over a bad line."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest
from conftest import edgedistill
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from serving import Served, serving

from edgedistill.bundle.archive import write_archive
from edgedistill.errors import UserError
from edgedistill.files import sha256_file
from edgedistill.records.documents import documents
from edgedistill.steps.bundle import bundle
from edgedistill.steps.publish import publish


@pytest.fixture(scope="module")
def releases(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles of one model as .zip files: the second has another README."""
    out = tmp_path_factory.mktemp("releases")
    bundle(tiny / "runs/tiny", ["linux"], out)
    changed = shutil.copytree(out / "linux", out / "changed")
    (changed / "README.md").write_text("The second release.\n")
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["files"]["README.md"] = sha256_file(changed / "README.md")
    (changed / "manifest.json").write_text(json.dumps(manifest))
    return [write_archive(out / "linux", out / "first.zip"), write_archive(changed, out / "second.zip")]


@pytest.fixture(scope="module")
def glue(releases: list[Path]):
    folder = str(releases[0].parent / "linux/python")
    sys.path.insert(0, folder)
    for name in [name for name in sys.modules if name.startswith("tiny_model")]:
        del sys.modules[name]
    yield import_module("tiny_model")
    sys.path.remove(folder)


def updater(glue, folder: Path, served: Served, **options):
    return glue.Updater(folder, served.url, **{"installation": "phone"} | options)


def test_an_app_gets_the_first_release_then_a_delta_of_the_second(glue, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository")
    with serving(tmp_path / "repository") as served:
        app = updater(glue, tmp_path / "app", served)
        assert app.current is None
        seen: list[tuple[int, int]] = []
        place = app.install(app.check(), lambda done, total: seen.append((done, total)))
        assert place == app.current
        assert seen[-1] == (releases[0].stat().st_size, releases[0].stat().st_size)
        assert app.check() is None
        index = publish(releases[1], tmp_path / "repository").index
        (delta,) = index.releases[1].deltas
        assert delta.bytes < 0.01 * index.releases[1].bytes
        served.asked.clear()
        new = app.install(app.check())
        assert served.asked == ["/index.json", f"/{delta.file}"]
        assert (new / "README.md").read_text() == "The second release.\n"
        assert app.current == new
        # The last good one stays, and nothing else.
        assert sorted(p.name for p in (tmp_path / "app").iterdir()) == sorted(
            ["release-1", "release-2", "state.json", f"{index.releases[1].sha256}.zip"]
        )
        with glue.Model.load(new) as model:
            assert model.self_test().ok


def test_a_delta_that_is_cut_off_or_changed_is_an_error_and_one_that_does_not_fit_is_not_used(
    glue, releases: list[Path], tmp_path: Path
) -> None:
    publish(releases[0], tmp_path / "repository")
    with serving(tmp_path / "repository") as served:
        app = updater(glue, tmp_path / "app", served)
        first = app.install(app.check())
        delta = tmp_path / "repository" / publish(releases[1], tmp_path / "repository").index.releases[1].deltas[0].file
        whole = delta.read_bytes()
        delta.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(glue.UpdateError, match="call install again to go on"):
            app.install(app.check())
        assert app.current == first
        delta.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
        with pytest.raises(glue.UpdateError, match="it was changed or damaged"):
            app.install(app.check())
        assert app.current == first
        delta.write_bytes(whole)
        (installed,) = (tmp_path / "app").glob("*.zip")
        installed.write_bytes(installed.read_bytes()[:-9])
        assert (app.install(app.check()) / "README.md").read_text() == "The second release.\n"


def test_an_update_that_is_interrupted_at_200_places_leaves_the_last_good_model(glue, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository")
    rng = random.Random(5)
    with serving(tmp_path / "repository") as served:
        app = updater(glue, tmp_path / "app", served)
        first = app.install(app.check())
        publish(releases[1], tmp_path / "repository")
        shutil.rmtree(tmp_path / "repository/deltas")
        index = json.loads((tmp_path / "repository/index.json").read_text())
        index["releases"][1]["deltas"] = []
        (tmp_path / "repository/index.json").write_text(json.dumps(index))
        size, interrupted = index["releases"][1]["bytes"], 0
        update = app.check()
        while interrupted < 200:
            served.cut = rng.randrange(size // 100)
            with suppress(glue.UpdateError):
                app.install(update)
            if app.current == first:
                interrupted += 1
                if interrupted % 40 == 0:
                    glue.Model.load(app.current).close()
                    # As after another start of the app.
                    app = updater(glue, tmp_path / "app", served)
            else:
                # It came through in parts: from the start again.
                app._write_state({"number": 1, "archive": "none", "previous": None, "serial": 1})
                shutil.rmtree(tmp_path / "app/release-2")
                (tmp_path / "app" / f"{index['releases'][1]['sha256']}.zip").unlink()
        served.cut = None
        assert (app.install(update) / "README.md").read_text() == "The second release.\n"


CHILD = """
import sys
from tiny_model import Updater
app = Updater(sys.argv[1], sys.argv[2], installation="phone")
update = app.check()
print("go", flush=True)
app.install(update)
"""


def test_kill_9_at_any_time_leaves_a_good_model(glue, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository")
    with serving(tmp_path / "repository") as served:
        first = updater(glue, tmp_path / "app", served)
        first.install(first.check())
        publish(releases[1], tmp_path / "repository")
        environment = {**os.environ, "PYTHONPATH": str(releases[0].parent / "linux/python")}
        for number in range(8):
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, tmp_path / "app", served.url], stdout=subprocess.PIPE, text=True, env=environment
            )
            assert child.stdout is not None
            assert child.stdout.readline() == "go\n"
            time.sleep(0.01 * number)
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()
            app = updater(glue, tmp_path / "app", served)
            assert app.current is not None
            assert app.accept(app.current)
            if app.current.name == "release-2":
                break
        if (update := app.check()) is not None:
            app.install(update)
        assert app.current.name == "release-2"


def test_a_share_of_the_installations_gets_a_release_and_keeps_it(glue, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository", percent=25)
    with serving(tmp_path / "repository") as served:

        def reached() -> set[str]:
            names = [f"phone-{number}" for number in range(200)]
            return {name for name in names if updater(glue, tmp_path / "app", served, installation=name).check()}

        quarter = reached()
        assert 30 <= len(quarter) <= 70
        publish(None, tmp_path / "repository", percent=60)
        more = reached()
        assert quarter < more
        assert 95 <= len(more) <= 145
        publish(None, tmp_path / "repository", percent=0)
        assert reached() == set()


def test_a_release_that_is_withdrawn_goes_back(glue, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository")
    publish(releases[1], tmp_path / "repository")
    with serving(tmp_path / "repository") as served:
        app = updater(glue, tmp_path / "app", served)
        assert app.install(app.check()).name == "release-2"
        publish(None, tmp_path / "repository", percent=0)
        assert app.check() is None, "a share of 0 stops a release, and takes nothing back"
        publish(None, tmp_path / "repository", withdraw=True)
        update = app.check()
        assert update.goes_back
        assert app.install(update).name == "release-1"
        assert app.current.name == "release-1"


def test_an_app_that_is_too_old_does_not_get_it(glue, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository", minimum_app="2.10")
    with serving(tmp_path / "repository") as served:
        assert updater(glue, tmp_path / "app", served, app_version="2.9").check() is None
        assert updater(glue, tmp_path / "app", served, app_version="2.10.1").check() is not None


def test_a_bundle_that_fails_its_test_on_the_device_is_not_taken(glue, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository")
    with serving(tmp_path / "repository") as served:
        app = updater(glue, tmp_path / "app", served, accept=lambda folder: False)
        with pytest.raises(glue.UpdateError, match="failed its test on this device; the old one stays"):
            app.install(app.check())
        assert app.current is None


def test_an_index_is_signed_new_and_of_this_schema(glue, releases: list[Path], tmp_path: Path) -> None:
    mine, other = (Ed25519PrivateKey.generate() for _ in range(2))
    keys = [key.public_key().public_bytes_raw() for key in (mine, other)]
    from cryptography.hazmat.primitives import serialization as s

    pem = tmp_path / "key.pem"
    pem.write_bytes(mine.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    repository = tmp_path / "repository"
    publish(releases[0], repository, key=pem)
    old = shutil.copytree(repository, tmp_path / "old")
    with serving(repository) as served:
        app = updater(glue, tmp_path / "app", served, public_key=keys[0])
        app.install(app.check())
        with pytest.raises(glue.UpdateError, match="is not the signature"):
            updater(glue, tmp_path / "app", served, public_key=keys[1]).check()
        with pytest.raises(UserError, match="is signed, found no --sign"):
            publish(releases[1], repository)
        publish(releases[1], repository, key=pem)
        app.install(app.check())
        index = repository / "index.json"
        for text, said in (
            (index.read_text().replace("updates/1", "updates/2"), "is not the signature"),
            ("{", "is not the signature"),
        ):
            index.write_text(text)
            with pytest.raises(glue.UpdateError, match=said):
                app.check()
            unsigned = updater(glue, tmp_path / "app", served)
            with pytest.raises(glue.UpdateError, match=r"update the app|is damaged"):
                unsigned.check()
    with serving(old) as served, pytest.raises(glue.UpdateError, match=r"expected 2 or more"):
        updater(glue, tmp_path / "app", served, public_key=keys[0]).check()
    with pytest.raises(glue.UpdateError, match="can't be read"):
        updater(glue, tmp_path / "app", served).check()


def harmful(archive: Path, target: Path, change: Callable[[zipfile.ZipFile], None]) -> Path:
    shutil.copyfile(archive, target)
    with zipfile.ZipFile(target, "a") as opened:
        change(opened)
    return target


def test_what_does_harm_is_neither_published_nor_unpacked(glue, releases: list[Path], tmp_path: Path) -> None:
    bad = harmful(releases[0], tmp_path / "bad.zip", lambda z: z.writestr("../x", "x"))
    with pytest.raises(UserError, match=r"is not published: the path '\.\./x' is not allowed"):
        publish(bad, tmp_path / "repository")
    publish(releases[0], tmp_path / "repository")
    index = json.loads((tmp_path / "repository/index.json").read_text())
    shutil.copyfile(bad, tmp_path / "repository/bundles/1.zip")
    index["releases"][0] |= {"sha256": sha256_file(bad), "bytes": bad.stat().st_size}
    (tmp_path / "repository/index.json").write_text(json.dumps(index))
    with serving(tmp_path / "repository") as served:
        app = updater(glue, tmp_path / "app", served)
        with pytest.raises(glue.UpdateError, match="is not allowed in a bundle"):
            app.install(app.check())
    assert not (tmp_path / "x").exists()
    assert app.current is None


def test_the_command_publishes_changes_and_tells_mistakes(releases: list[Path], tmp_path: Path) -> None:
    done = edgedistill("publish", releases[0], "--percent", 10, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    jsonschema.validate(document, documents()["publish"].model_json_schema(mode="serialization", by_alias=True))
    jsonschema.validate(
        json.loads((tmp_path / "updates/index.json").read_text()),
        documents()["updates"].model_json_schema(mode="serialization", by_alias=True),
    )
    assert document["index"]["releases"][0]["percent"] == 10
    for arguments, said in (
        (["--percent", "101"], "expected a number from 0 to 100"),
        ([], "expected --percent P or --withdraw"),
        (["--withdraw", "--release", "7"], "has no release 7, expected one of 1"),
        ([releases[0]], "is the newest release"),
        ([releases[0].parent / "linux"], "is a folder, expected the .zip"),
        (["--percent", "5", "--to", "none"], "has no releases yet"),
    ):
        failed = edgedistill("publish", *arguments, cwd=tmp_path)
        assert (failed.returncode, said in failed.stderr) == (2, True), failed.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    assert "is no repository of updates" in edgedistill("publish", releases[0], "--to", "mine", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    "change", [{"sha256": "../../x"}, {"sha256": 7}, {"number": 0}, {"number": "1"}, {"bytes": 0}, {"percent": "many"}]
)
def test_an_index_whose_fields_are_wrong_is_damaged(glue, releases: list[Path], tmp_path: Path, change: dict) -> None:
    publish(releases[0], tmp_path / "repository")
    path = tmp_path / "repository/index.json"
    index = json.loads(path.read_text())
    index["releases"][0] |= change
    path.write_text(json.dumps(index))
    with serving(tmp_path / "repository") as served, pytest.raises(glue.UpdateError, match="is damaged"):
        updater(glue, tmp_path / "app", served).check()


def test_versions_with_and_without_zeros_are_the_same(glue) -> None:
    is_older = import_module("tiny_model.updates")._is_older
    assert not is_older("3.2", "3.2.0")
    assert not is_older("3.10", "3.9.9")
    assert is_older("3.2", "3.2.1")


def test_a_compressed_archive_is_not_published(releases: list[Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(releases[0]) as stored, zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in stored.infolist():
            packed.writestr(entry.filename, stored.read(entry))
    with pytest.raises(UserError, match="clients unpack stored files only"):
        publish(tmp_path / "packed.zip", tmp_path / "repository")
