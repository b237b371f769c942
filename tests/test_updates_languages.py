"""Updates by the glue code in Kotlin, TypeScript and Swift: each does what that in Python does, over the same bad line.

A test runs once for each language. Its program reads a request a line, and answers each with `answer`, or with `error` and `message`.
"""

import hashlib
import json
import random
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from serving import Served, serving
from test_glue_kotlin import Ask, jvm  # noqa: F401  fixtures of the languages
from test_glue_swift import checks, crypto, prefix  # noqa: F401
from test_glue_typescript import built, open_page, packages, tool  # noqa: F401

from edgedistill.bundle.archive import write_archive
from edgedistill.bundle.glue.python.updates import share_of
from edgedistill.errors import UserError
from edgedistill.files import sha256_file
from edgedistill.steps.publish import publish

PROGRAMS = ["jvm", "node", pytest.param("swift", marks=pytest.mark.slow)]


@contextmanager
def running(*command: object, cwd: Path) -> Iterator[Ask]:
    """A program that answers each line with one."""
    with subprocess.Popen([*map(str, command)], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(do: str, **request: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps({"do": do, **request}, default=str) + "\n")
            process.stdin.flush()
            limit = threading.Timer(60, process.kill)
            limit.start()
            line = process.stdout.readline()
            limit.cancel()
            assert line, f"{command[0]} gave no answer in 60 s: {request}"
            return json.loads(line)

        yield ask
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.fixture(scope="session")
def node(built: Path) -> Iterator[Ask]:  # noqa: F811
    with running(tool("node"), "dist/updatesNode.js", cwd=built) as program:
        yield program


@pytest.fixture(scope="session")
def swift(checks: object, crypto: Path) -> Iterator[Ask]:  # noqa: F811  the first compiles
    with running(*prefix(), crypto / "checks", "updates", cwd=crypto) as program:
        yield program


@pytest.fixture(scope="session", params=PROGRAMS, ids=["kotlin", "typescript", "swift"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Sends a request to the program of a language, and returns its answer."""
    program = request.getfixturevalue(request.param)
    return lambda **step: program("update", **step)


def write_bundle(folder: Path, readme: str, seed: int = 4) -> Path:
    """A small bundle that has no artifact: updates look at the files only."""
    weights = np.random.default_rng(seed).integers(0, 256, 60_000, np.uint8).tobytes()
    for path, data in {"README.md": readme.encode(), "model.bin": weights, "golden/a/b.bin": b"", "golden/ä.bin": b"1"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    manifest = {
        "schema": "edgedistill/manifest/3", "name": "small", "task": "of-another-package",
        "target": {"name": "any", "description": "a test", "minimum_os": "none"},
        "model": {"name": "small", "state_sha256": "0" * 64, "output_scale": {}},
        "signature": {"methods": {}}, "preprocessing": {},
        "ship": {"order": [], "first": {"name": "none", "reasons": []}}, "artifacts": [],
        "licenses": {"code": "MIT", "data": "MIT", "teacher": "MIT"}, "files": files, "versions": {},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles as .zip files: the second has another README."""
    out = tmp_path_factory.mktemp("releases")
    return [write_archive(write_bundle(out / name, f"The {name} release.\n"), out / f"{name}.zip") for name in ("first", "second")]


class App:
    """An app with an updater, in a folder of its own."""

    def __init__(self, ask: Ask, folder: Path, served: Served, **options: Any) -> None:
        self.ask, self.folder, self.options = ask, folder, {"folder": folder, "url": served.url} | options

    def __call__(self, step: str, **options: Any) -> Any:
        found = self.ask(step=step, **self.options | options)
        assert "answer" in found, found
        return found["answer"]

    def fails(self, step: str, *words: str, **options: Any) -> None:
        """Assert that a step is an error of updates, whose message has all the words."""
        found = self.ask(step=step, **self.options | options)
        assert found.get("error") == "UpdateError", found
        assert [word for word in words if word not in found["message"]] == [], found["message"]
        assert "\n" not in found["message"]

    def readme(self) -> str:
        return (self.folder / self("current") / "README.md").read_text()

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


def without_deltas(repository: Path) -> dict[str, Any]:
    """Take the deltas out of an index; returns the newest release."""
    index = json.loads((repository / "index.json").read_text())
    for release in index["releases"]:
        release["deltas"] = []
    (repository / "index.json").write_text(json.dumps(index))
    return index["releases"][-1]


def test_first_release_nothing_to_do_then_a_new_one(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    publish(releases[0], repository)
    with serving(repository) as served:
        app, size = App(ask, tmp_path / "app", served), releases[0].stat().st_size
        assert app("current") is None
        assert app("check") == {"number": 1, "bytes": size, "goes_back": False}
        assert app("install") == {"installed": "release-1", "done": size, "total": size}
        assert (app("current"), app("check")) == ("release-1", None)
        publish(releases[1], repository)
        served.asked.clear()
        assert app("install")["installed"] == "release-2"
        # Nothing here has zstd: the whole file comes, though there is a delta.
        assert served.asked == ["/index.json", "/bundles/2.zip"]
        assert (app("current"), app("check"), app.readme()) == ("release-2", None, "The second release.\n")
        # The last good one stays, and nothing else.
        assert app.files() == ["release-1", "release-2", "state.json"]
        unpacked = {
            path.relative_to(app.folder / "release-2"): path.read_bytes() for path in app.folder.rglob("release-2/**/*") if path.is_file()
        }
        second = releases[1].with_suffix("")
        assert unpacked == {path.relative_to(second): path.read_bytes() for path in second.rglob("*") if path.is_file()}
        state = json.loads((app.folder / "state.json").read_text())
        assert (state["number"], state["previous"], state["serial"]) == (2, 1, 2)


def test_a_patcher_makes_a_release_of_the_one_before(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    publish(releases[0], repository)
    with serving(repository) as served:
        app = App(ask, tmp_path / "app", served, patched=releases[1])
        app("install")
        shutil.copytree(app.folder, tmp_path / "before")
        (delta,) = publish(releases[1], repository).index.releases[1].deltas
        served.asked.clear()
        app("install")
        assert served.asked == ["/index.json", f"/{delta.file}"]
        assert app.readme() == "The second release.\n"
        assert app.files() == sorted([f"{sha256_file(releases[1])}.zip", "release-1", "release-2", "state.json"])
        # A patcher that fails, or that makes something else, is not needed.
        for patched in (tmp_path / "none", releases[0]):
            shutil.rmtree(app.folder)
            shutil.copytree(tmp_path / "before", app.folder)
            served.asked.clear()
            assert app("install", patched=patched)["installed"] == "release-2"
            assert served.asked == ["/index.json", f"/{delta.file}", "/bundles/2.zip"]


def test_interruptions_at_200_places_leave_the_last_good_bundle(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    repository, rng = tmp_path / "repository", random.Random(5)
    publish(releases[0], repository)
    with serving(repository) as served:
        app = App(ask, tmp_path / "app", served)
        app("install")
        shutil.copytree(app.folder, tmp_path / "before")
        publish(releases[1], repository)
        size, interrupted = releases[1].stat().st_size, 0
        while interrupted < 200:
            served.cut = rng.randrange(size // 10)
            found = ask(step="install", **app.options)
            if "answer" in found:
                # It came through in parts: from the start again.
                assert (found["answer"]["installed"], app.readme()) == ("release-2", "The second release.\n")
                shutil.rmtree(app.folder)
                shutil.copytree(tmp_path / "before", app.folder)
                continue
            assert found["error"] == "UpdateError", found
            assert "call install again to go on" in found["message"]
            interrupted += 1
            if interrupted % 20 == 0:
                assert (app("current"), app.readme()) == ("release-1", "The first release.\n")
        # Many went on where the one before ended; Node may lose what came right before the end.
        assert len(served.starts) > 50
        served.cut = None
        assert app("install")["installed"] == "release-2"
        assert app.readme() == "The second release.\n"


def test_a_download_that_is_cancelled_goes_on(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository")
    with serving(tmp_path / "repository") as served:
        app = App(ask, tmp_path / "app", served)
        assert app("cancelled") == "cancelled, then release-1"
        assert app("current") == "release-1"


def signing_key(folder: Path) -> tuple[Path, str]:
    """A private key as PEM file, and the public one as hexadecimal digits."""
    key, pem = Ed25519PrivateKey.generate(), folder / "key.pem"
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem.write_bytes(key.private_bytes(*form))
    return pem, key.public_key().public_bytes_raw().hex()


def test_an_index_is_signed_new_and_of_this_schema(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    repository, (pem, key) = tmp_path / "repository", signing_key(tmp_path)
    publish(releases[0], repository, key=pem)
    old = shutil.copytree(repository, tmp_path / "old")
    with serving(repository) as served:
        app = App(ask, tmp_path / "app", served, key=key)
        app("install")
        other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
        for wrong in (other, key[:-2]):
            app.fails("check", "/index.sig is not the signature of index.json by this key", key=wrong)
        publish(releases[1], repository, key=pem)
        app("install")
        index, signature = (repository / name for name in ("index.json", "index.sig"))
        good = index.read_text()
        for text, said in (
            (good.replace("updates/1", "updates/2"), "found edgedistill/updates/2, this code reads edgedistill/updates/1: update the app"),
            ("{", "/index.json is damaged"),
            ("[" * 100_000, "/index.json is damaged"),
            (good.replace('"serial"', '"number"'), "/index.json is damaged"),
            (good.replace(sha256_file(releases[1]), "../../outside"), "/index.json is damaged"),
            (good.replace('"number": 2', '"number": "../2"'), "/index.json is damaged"),
            (good.replace(f'"bytes": {releases[0].stat().st_size}', '"bytes": 0'), "/index.json is damaged"),
            (" " * (4 * 2**20 + 1), "has more than"),
        ):
            index.write_text(text)
            app.fails("check", "has more than" if len(text) > 2**20 else "is not the signature of index.json")
            app.fails("check", said, key=None)
        index.write_text(good)
        assert app("check") is None
        signature.write_bytes(signature.read_bytes()[:-1])
        app.fails("check", "is not the signature of index.json")
        signature.unlink()
        app.fails("check", "/index.sig can't be read", "404")
    with serving(old) as served:
        App(ask, app.folder, served, key=key).fails("check", "found an index with the serial 1, expected 2 or more", "old copy")
    app.fails("check", "/index.json can't be read", "try again later")
    assert app("current") == "release-2"


def test_a_share_of_the_installations_is_that_of_python(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository", percent=30)
    names = [f"phone-{number}-ä" for number in range(50)]
    with serving(tmp_path / "repository") as served:
        app = App(ask, tmp_path / "app", served)
        shares = {name: [app("share", installation=name, number=number) for number in (1, 7)] for name in names}
        assert shares == {name: [share_of(name, number) for number in (1, 7)] for name in names}
        reached = {name for name in names if app("check", installation=name)}
        assert reached == {name for name in names if share_of(name, 1) < 30}
        assert 5 < len(reached) < 30
        publish(None, tmp_path / "repository", percent=0)
        assert [name for name in names if app("check", installation=name)] == []


def test_a_release_that_is_withdrawn_goes_back(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for archive in releases:
        publish(archive, repository)
    with serving(repository) as served:
        app = App(ask, tmp_path / "app", served)
        assert app("install")["installed"] == "release-2"
        publish(None, repository, percent=0)
        assert app("check") is None, "a share of 0 stops a release, and takes nothing back"
        publish(None, repository, percent=100)
        publish(None, repository, withdraw=True)
        assert app("check") == {"number": 1, "bytes": releases[0].stat().st_size, "goes_back": True}
        assert app("install")["installed"] == "release-1"
        assert (app("check"), app.readme()) == (None, "The first release.\n")
        publish(None, repository, percent=100)
        assert app("check") == {"number": 2, "bytes": releases[1].stat().st_size, "goes_back": False}
        app("install")
        # A release that the index no longer has counts as withdrawn.
        index = json.loads((repository / "index.json").read_text())
        (repository / "index.json").write_text(json.dumps(index | {"releases": index["releases"][:1]}))
        assert app("check")["goes_back"]


def test_an_app_that_is_too_old_does_not_get_it(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository", minimum_app="2.10")
    with serving(tmp_path / "repository") as served:
        app = App(ask, tmp_path / "app", served)
        assert [app("check", version=version) is not None for version in ("2.9", "2.10", "2.10.1", "3", "1.99")] == [
            False, True, True, True, False,
        ]  # fmt: skip


def test_a_bundle_that_fails_its_test_on_the_device_is_not_taken(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    publish(releases[0], repository)
    with serving(repository) as served:
        app = App(ask, tmp_path / "app", served)
        app("install")
        publish(releases[1], repository)
        app.fails("refuse", "release 2 failed its test on this device; the old one stays")
        assert (app("current"), app.readme()) == ("release-1", "The first release.\n")
        assert app.files() == sorted([f"{sha256_file(releases[1])}.zip", "release-1", "state.json"])
        served.asked.clear()
        assert app("install")["installed"] == "release-2"
        assert served.asked == ["/index.json"], "what was downloaded is not downloaded again"


def test_a_file_that_is_not_as_the_manifest_says_is_not_taken(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    folder = shutil.copytree(releases[0].with_suffix(""), tmp_path / "changed")
    (folder / "model.bin").write_bytes(bytes(60_000))
    replaced(tmp_path / "repository", releases[0], write_archive(folder, tmp_path / "changed.zip"))
    with serving(tmp_path / "repository") as served:
        app = App(ask, tmp_path / "app", served)
        found = ask(step="install", **app.options)
        assert "model.bin has" in found["message"]
        assert hashlib.sha256(bytes(60_000)).hexdigest()[:12] in found["message"]
        assert app("current") is None


def test_changed_bytes_are_not_taken(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    publish(releases[0], tmp_path / "repository")
    archive = tmp_path / "repository/bundles/1.zip"
    good = archive.read_bytes()
    with serving(tmp_path / "repository") as served:
        app = App(ask, tmp_path / "app", served)
        for bad in (good[:1000] + bytes([good[1000] ^ 1]) + good[1001:], good + b"more"):
            archive.write_bytes(bad)
            app.fails("install", "/bundles/1.zip was changed or damaged", sha256_file(releases[0])[:12])
            assert app.files() == []
        archive.write_bytes(good[:-9])
        app.fails("install", "call install again to go on")
        archive.unlink()
        app.fails("install", "/bundles/1.zip can't be read", "404")
        archive.write_bytes(good)
        assert app("install")["installed"] == "release-1"


def replaced(repository: Path, good: Path, bad: Path) -> None:
    """A repository whose only release is a .zip that `edgedistill publish` refuses."""
    publish(good, repository)
    shutil.copyfile(bad, repository / "bundles/1.zip")
    index = json.loads((repository / "index.json").read_text())
    index["releases"][0] |= {"sha256": sha256_file(bad), "bytes": bad.stat().st_size}
    (repository / "index.json").write_text(json.dumps(index))


def entry(name: str, mode: int = 0, data: bytes = b"x", **options: Any) -> Callable[[zipfile.ZipFile], None]:
    """Adds a file to a .zip."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return lambda archive: archive.writestr(info, data, **options)


def edited(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Replaces bytes of a .zip, which have to be there."""

    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new)

    return change


HARMFUL = {
    "parent": (entry("../outside"), "the path '../outside' is not allowed in a bundle"),
    "parent within": (entry("golden/../../outside"), "is not allowed in a bundle"),
    "accent": (entry("../\u0301outside"), "is not allowed in a bundle"),
    "absolute": (entry("/tmp/outside-of-edgedistill"), "is not allowed in a bundle"),
    "drive": (entry("C:/outside"), "is not allowed in a bundle"),
    "backslash": (entry("..\\outside"), "is not allowed in a bundle"),
    "folder": (entry("../outside/", 0o40755, b""), None),
    "link": (entry("link", 0o120777, b"/etc/passwd"), "link is a link or no plain file"),
    "device": (entry("device", 0o020666, b""), "device is a link or no plain file"),
    "compressed": (entry("bomb", data=bytes(2**20), compress_type=zipfile.ZIP_DEFLATED), "bomb is compressed, expected a stored file"),
    "twice": (entry("README.md"), "has README.md twice"),
}


@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_does_harm_is_not_unpacked(ask: Ask, releases: list[Path], tmp_path: Path, name: str) -> None:
    change, said = HARMFUL[name]
    bad = shutil.copyfile(releases[0], tmp_path / "bad.zip")
    with zipfile.ZipFile(bad, "a") as archive:
        change(archive)
    if said is not None:
        with pytest.raises(UserError, match="is not published"):
            publish(bad, tmp_path / "refused")
    replaced(tmp_path / "repository", releases[0], bad)
    with serving(tmp_path / "repository") as served:
        app = App(ask, tmp_path / "place/app", served)
        if said is None:
            # A folder is not made, so it may have any name.
            assert app("install")["installed"] == "release-1"
        else:
            app.fails("install", said)
            assert app("current") is None
            assert [name for name in app.files() if not name.endswith(".zip")] == []
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["app"]
    assert not Path("/tmp/outside-of-edgedistill").exists()


def test_a_damaged_archive_is_told(ask: Ask, releases: list[Path], tmp_path: Path) -> None:
    """Its SHA-256 is that of the index, but it is no .zip, or its parts lie on each other."""
    good = releases[0].read_bytes()
    directory = good.index(b"PK\x01\x02")
    model = directory + 0
    while not good[model:].startswith(b"PK\x01\x02") or b"model.bin" not in good[model : model + 60]:
        model += 1
    size = (60_000).to_bytes(4, "little")
    larger, far = (61_000).to_bytes(4, "little"), (2**31).to_bytes(4, "little")
    both = good[model + 20 : model + 28]
    assert both == size + size
    end = good[-22:]
    copies = 3
    # The same bytes under other names, by which a small file fills a disk.
    entries = good[directory:-22]
    more = b"".join(good[model : model + 46] + f"model.bi{i}".encode() for i in range(copies))
    count, length = (int.from_bytes(end[10:12], "little") + copies), len(entries) + len(more)
    bomb = good[:-22] + more + end[:8] + count.to_bytes(2, "little") * 2 + length.to_bytes(4, "little") + end[16:]
    cases = {
        "no zip": (b"x" * 500, "can't be unpacked"),
        "a byte": (b"x", "can't be unpacked"),
        "size": (good[: model + 20] + larger * 2 + good[model + 28 :], "can't be unpacked"),
        "place": (good[: model + 42] + far + good[model + 46 :], "can't be unpacked"),
        "other place": (good[: model + 42] + b"\x01" + good[model + 43 :], "can't be unpacked"),
        "directory": (good[:-6] + far + good[-2:], "can't be unpacked"),
        "cut": (good[:-1], "can't be unpacked"),
        "bomb": (bomb, "would fill the disk"),
        "method": (good[: model + 10] + b"\x08" + good[model + 11 :], "model.bin is compressed"),
        "encrypted": (good[: model + 8] + bytes([good[model + 8] | 1]) + good[model + 9 :], "model.bin is compressed"),
    }
    for name, (data, said) in cases.items():
        bad, repository = tmp_path / f"{name}.zip", tmp_path / f"{name} repository"
        bad.write_bytes(data)
        replaced(repository, releases[0], bad)
        with serving(repository) as served:
            app = App(ask, tmp_path / f"{name} app", served)
            app.fails("install", said)
            assert app("current") is None


def test_a_page_keeps_bundles_in_its_caches(releases: list[Path], built: Path, tmp_path: Path) -> None:  # noqa: F811
    served, site = tmp_path / "served", tmp_path / "site"
    for name in ("first", "changed"):
        publish(releases[0], served / name)
    for name in ("second", "changed", "withdrawn"):
        publish(releases[0], served / name) if name != "changed" else None
        publish(releases[1], served / name)
    publish(None, served / "withdrawn", withdraw=True)
    archive = served / "changed/bundles/2.zip"
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    bad = shutil.copyfile(releases[1], tmp_path / "bad.zip")
    with zipfile.ZipFile(bad, "a") as opened:
        opened.writestr("../outside", "x")
    for archive in releases:
        publish(archive, served / "harmful")
    shutil.copyfile(bad, served / "harmful/bundles/2.zip")
    index = json.loads((served / "harmful/index.json").read_text())
    index["releases"][1] |= {"sha256": sha256_file(bad), "bytes": bad.stat().st_size}
    (served / "harmful/index.json").write_text(json.dumps(index))
    (served / "key.bin").write_bytes(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    (served / "second/index.sig").write_bytes(bytes(64))
    site.mkdir()
    for name in ("dist", "made"):
        (site / name).symlink_to(built / name)
    shutil.copyfile(built / "updates.html", site / "page.html")
    found = open_page(site, served, tmp_path, tmp_path / "profile")
    assert isinstance(found.get("first"), dict), found
    first, second = "The first release.\n", "The second release.\n"
    size = releases[0].stat().st_size
    assert found["first"] == {"number": 1, "goesBack": False, "last": [size, size], "readme": first}
    assert found["again"] == {"number": None, "goesBack": None, "last": [], "readme": first}
    for name, said in (
        ("refused", "release 2 failed its test on this device"), ("changed", "was changed or damaged"),
        ("harmful", "the path '../outside' is not allowed in a bundle"), ("unsigned", "is not the signature of index.json"),
        ("missing", "can't be read"),
    ):  # fmt: skip
        assert found[name].get("error") == "UpdateError", (name, found[name])
        assert said in found[name]["message"]
        assert found[name]["readme"] == first
    assert (found["second"]["number"], found["second"]["readme"]) == (2, second)
    assert found["caches"] == ["small/release-1", "small/release-2", "small/state"]
    assert (found["withdrawn"]["goesBack"], found["withdrawn"]["readme"]) == (True, first)
    assert "found an index with the serial 1, expected 3 or more" in found["older"]["message"]
    assert found["files"] == ["/README.md", "/golden/a/b.bin", "/golden/ä.bin", "/manifest.json", "/model.bin"]
