"""The kit for devices: packages opened in Python, the pinned ones or those of a signed index, and the archive."""

import gzip
import hashlib
import io
import json
import lzma
import re
import shutil
import struct
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from edgedistill.errors import UserError
from edgedistill.measure import kit
from edgedistill.measure.kit import assemble, elf, fetching, index, lock, mirror, packages
from edgedistill.records.kit import KitContent, KitFacts

ROOT = Path(__file__).parents[1]


def _deb(files, links=()):
    """A .deb with `files` {path: bytes} and symbolic `links` (path, target)."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, target in links:
            member = tarfile.TarInfo(f"./{path}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for path, data in files.items():
            member = tarfile.TarInfo(f"./{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    deb = b"!<arch>\n"
    for name, body in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", lzma.compress(raw.getvalue()))):
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    return deb


def _elf(needed=(), search="", machine=183, alignment=65536):
    """The least ELF file that says what it needs: a header, two program headers, a dynamic section and its strings."""
    strings, at = b"\0", {}
    for text in (*needed, search):
        at[text] = len(strings)
        strings += text.encode() + b"\0"
    dynamic, base = 64 + 2 * 56, 0x10000
    entries = [(1, at[name]) for name in needed] + ([(29, at[search])] if search else [])
    size = (len(entries) + 2) * 16
    entries += [(5, base + dynamic + size), (0, 0)]
    body = b"".join(struct.pack("<qQ", *entry) for entry in entries) + strings
    total = dynamic + len(body)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, total, total, alignment)
    return header + load + struct.pack("<IIQQQQQQ", 2, 6, dynamic, base + dynamic, base + dynamic, size, size, 8) + body


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


LOADER = "ld-linux-aarch64.so.1"
CONTENT = KitContent(id="0", arch="aarch64", python="3.13", runtimes={}, packages=[], libraries=[], warnings=[])
PINNED = lock.Lock("aarch64", "arm64", "trixie", LOADER, (), ())
LIBRARY = "usr/lib/aarch64-linux-gnu"
DEBS = {
    "python3.13-minimal": {"usr/bin/python3.13": _elf(["libc.so.6", "libz.so.1"]), "usr/share/doc/python3.13-minimal/copyright": b"PSF"},
    "libpython3.13-stdlib": {
        "usr/lib/python3.13/os.py": b"os",
        "usr/lib/python3.13/test/big.py": b"left out",
        "usr/lib/python3.13/lib-dynload/_ssl.cpython-313.so": _elf(["libssl.so.3"]),
    },
    "libc6": {f"{LIBRARY}/{LOADER}": _elf(), f"{LIBRARY}/libc.so.6": _elf([LOADER]), f"{LIBRARY}/gconv/libc.so.6": b"another"},
    "zlib1g": {f"{LIBRARY}/libz.so.1": _elf(["libdeep.so.1"]), f"{LIBRARY}/libdeep.so.1": _elf(), f"{LIBRARY}/libunused.so.1": _elf()},
}
WHEEL = {
    "runtime/__init__.py": b"",
    "runtime/core.so": _elf(["libown.so", "libc.so.6"], "$ORIGIN/../runtime.libs"),
    "runtime.libs/libown.so": _elf(),
    "runtime/tests/test_x.py": b"left out",
    "runtime-1.0.dist-info/METADATA": b"Name: runtime",
    "runtime-1.0.dist-info/licenses/LICENSE": b"MIT",
}


def test_a_deb_opens_without_dpkg():
    tree = packages.unpack_deb(
        _deb(
            {"usr/lib/libx.so.1.2": b"code", "usr/share/doc/x/copyright": b"odd"},
            [("usr/lib/libx.so.1", "libx.so.1.2"), ("etc/out", "/etc/passwd"), ("etc/up", "../../../etc/passwd")],
        )
    )
    assert tree == {"usr/lib/libx.so.1.2": b"code", "usr/lib/libx.so.1": b"code", "usr/share/doc/x/copyright": b"odd"}


def test_what_is_no_deb_is_named():
    with pytest.raises(ValueError, match="expected an ar archive, found a file that begins with b'<html>"):
        packages.unpack_deb(b"<html>not found</html>")
    with pytest.raises(ValueError, match=r"found data\.tar\.zst"):
        packages.unpack_deb(_deb({}).replace(b"data.tar.xz ", b"data.tar.zst"))


def test_a_wheel_opens_as_pip_would_lay_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for name in ("a/__init__.py", "a-1.data/platlib/a/core.so", "a-1.data/scripts/tool", "a-1.dist-info/METADATA"):
            archive.writestr(name, name)
    assert sorted(packages.unpack_wheel(tmp_path / "a.whl")) == ["a-1.dist-info/METADATA", "a/__init__.py", "a/core.so"]


def test_the_elf_reader_agrees_with_a_real_library():
    import onnxruntime

    library = next(Path(onnxruntime.__file__).parent.glob("capi/onnxruntime_pybind11_state*.so"))
    header = elf.read(library.read_bytes())
    assert header.machine in ("x86_64", "aarch64")
    assert {"libc.so.6", "libstdc++.so.6"} <= set(header.needed)
    assert header.search == ("$ORIGIN",)
    assert header.alignment >= 4096


def test_the_elf_reader_refuses_what_it_cannot_read():
    assert elf.read(_elf(["a.so", "b.so"], "$ORIGIN:/x")) == elf.Elf("aarch64", ("a.so", "b.so"), ("$ORIGIN", "/x"), 65536)
    with pytest.raises(ValueError, match="64-bit little-endian"):
        elf.read(b"\x7fELF\x01\x01" + bytes(60))
    with pytest.raises(ValueError, match="is truncated"):
        elf.read(_elf(["a.so"])[:100])


def test_a_kit_holds_what_is_loaded_and_nothing_more():
    tree = assemble.assemble(PINNED, DEBS, [WHEEL])
    assert sorted(path for path in tree if not path.startswith("licences/")) == [
        "bin/python3.13",
        "lib/ld-linux-aarch64.so.1",
        "lib/libc.so.6",
        "lib/libdeep.so.1",
        "lib/libz.so.1",
        "lib/python3.13/os.py",
        "lib/python3/dist-packages/runtime-1.0.dist-info/METADATA",
        "lib/python3/dist-packages/runtime-1.0.dist-info/licenses/LICENSE",
        "lib/python3/dist-packages/runtime.libs/libown.so",
        "lib/python3/dist-packages/runtime/__init__.py",
        "lib/python3/dist-packages/runtime/core.so",
        "python",
    ]
    assert tree["lib/libc.so.6"] == DEBS["libc6"][f"{LIBRARY}/libc.so.6"]
    assert {path: data for path, data in tree.items() if path.startswith("licences/")} == {
        "licences/python3.13-minimal/copyright": b"PSF",
        "licences/runtime/LICENSE": b"MIT",
    }
    assert f"/lib/{LOADER}" in tree["python"].decode()


def test_missing_libraries_stop_the_build():
    wheel = WHEEL | {"runtime/core.so": _elf(["libown.so", "libgone.so.2"]), "runtime/more.so": _elf(["libgone.so.3"])}
    with pytest.raises(UserError, match=r"libgone\.so\.2 \(for .*core\.so\), libgone\.so\.3 \(for .*more\.so\), libown\.so \(for .*core"):
        assemble.assemble(PINNED, DEBS, [wheel])


@pytest.mark.parametrize(("options", "said"), [({"machine": 62}, "machine x86_64"), ({"alignment": 4096}, "aligned to 4096")])
def test_files_of_another_machine_or_page_size_stop_the_build(options, said):
    with pytest.raises(UserError, match=rf"cannot be loaded on aarch64: .*core\.so \(.*{said}"):
        assemble.assemble(PINNED, DEBS, [WHEEL | {"runtime/core.so": _elf(**options)}])


def test_the_archive_is_the_same_whenever_it_is_made(tmp_path):
    tree = assemble.assemble(PINNED, DEBS, [WHEEL])
    for name in ("a", "b"):
        assemble.write_archive(dict(reversed(tree.items())) if name == "b" else tree, CONTENT, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes()[4:8] == bytes(4), "gzip's own time stamp"
    with tarfile.open(tmp_path / "a") as archive:
        members = {member.name: member for member in archive}
    assert {name for name, member in members.items() if member.mode == 0o755} >= {"python", "bin/python3.13", f"lib/{LOADER}"}
    assert members["manifest.json"].mode == 0o644
    assert {(member.mtime, member.uid, member.uname) for member in members.values()} == {(0, 0, "")}


def test_the_lock_agrees_with_the_versions_of_the_project():
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for arch in ("aarch64", "x86_64"):
        entry = lock.read(arch)
        found = {wheel.name: wheel.version for wheel in entry.wheels}
        # ml-dtypes belongs to the part of ai-edge-litert that runs files with a state.
        assert {"numpy", "onnxruntime", "ai-edge-litert", "ml-dtypes", "executorch-numpy-runtime"} == set(found)
        assert found == {name: pinned.get(name, version) for name, version in found.items()}
        assert all(wheel.file.endswith(f"_{arch}.whl") and wheel.version in wheel.file for wheel in entry.wheels)
        assert all(deb.path.endswith(f"_{entry.debian}.deb") and deb.name in deb.path for deb in entry.debs)
        assert all(re.fullmatch("[0-9a-f]{64}", package.sha256) for package in (*entry.debs, *entry.wheels))
        assert [deb.version for deb in entry.debs] == [deb.version for deb in lock.read("x86_64").debs]
    with pytest.raises(UserError, match="no kit for the architecture 'armv7': expected one of aarch64, x86_64"):
        kit.build("armv7")


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A Debian archive on disk with two packages, one of them newer than its pin; its lock; and gpgv played by a script."""
    monkeypatch.setattr(fetching, "_PAUSE_S", 0)
    root = tmp_path / "debian"
    for path, data in {"pool/a_1.deb": b"a", "pool/b_2.deb": b"newer b"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    fields = [("a", "1", "pool/a_1.deb", b"a"), ("b", "2", "pool/b_2.deb", b"newer b")]
    listed = [f"Package: {n}\nVersion: {v}\nFilename: {f}\nDescription: x\nSHA256: {_sha256(d)}\n" for n, v, f, d in fields]
    dists = root / "dists/trixie"
    (dists / "main/binary-arm64").mkdir(parents=True)
    listing = lzma.compress("\n".join(listed).encode())
    (dists / "main/binary-arm64/Packages.xz").write_bytes(listing)
    (dists / "InRelease").write_text(f"Codename: trixie\nSHA256:\n {_sha256(listing)} {len(listing)} main/binary-arm64/Packages.xz\n")
    script = tmp_path / "bin/gpgv"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho "[GNUPG:] ${STATUS:-VALIDSIG} 0"\ncp "$7" "$6"\nexit 2\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    monkeypatch.setattr(index, "KEYRINGS", [script])
    pins = (lock.Deb("a", "1", "pool/a_1.deb", _sha256(b"a")), lock.Deb("b", "1", "pool/b_1.deb", _sha256(b"b")))
    return root, replace(PINNED, debs=pins)


def test_pinned_packages_are_taken_as_they_are(archive):
    root, pinned = archive
    (root / "pool/b_1.deb").write_bytes(b"b")
    (root / "dists/trixie/InRelease").unlink()
    assert mirror.fetch(pinned, root.as_uri()) == ([(pinned.debs[0], b"a"), (pinned.debs[1], b"b")], [])


def test_a_package_that_is_gone_is_taken_from_the_signed_index(archive):
    root, pinned = archive
    debs, warnings = mirror.fetch(pinned, root.as_uri())
    assert [(deb.version, data) for deb, data in debs] == [("1", b"a"), ("2", b"newer b")]
    assert warnings == ["b 1 is gone from the mirror: 2 of its signed index was taken"]


def test_nothing_unverified_is_taken(archive, monkeypatch):
    root, pinned = archive
    url = root.as_uri()
    monkeypatch.setattr(index, "KEYRINGS", [root / "none.pgp", root / "none.gpg"])
    with pytest.raises(UserError, match=r"without Debian's keyring, .*none\.gpg: install"):
        mirror.fetch(pinned, url)
    monkeypatch.setattr(index, "KEYRINGS", [Path(__file__)])
    monkeypatch.setenv("STATUS", "NO_PUBKEY")
    with pytest.raises(UserError, match="is not signed by a key of"):
        mirror.fetch(pinned, url)
    monkeypatch.delenv("STATUS")
    (root / "pool/b_2.deb").write_bytes(b"changed")
    with pytest.raises(UserError, match=r"b_2\.deb: expected SHA-256 .* found"):
        mirror.fetch(pinned, url)
    (root / "dists/trixie/main/binary-arm64/Packages.xz").write_bytes(lzma.compress(b"Package: b"))
    with pytest.raises(UserError, match="the signed index announces SHA-256"):
        mirror.fetch(pinned, url)
    (root / "dists/trixie/InRelease").write_text("Codename: sid\n")
    with pytest.raises(UserError, match="is signed, but is not the index of trixie"):
        mirror.fetch(pinned, url)
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(UserError, match="without gpgv: install"):
        mirror.fetch(pinned, url)


def test_a_pinned_package_that_was_changed_is_no_reason_to_take_another(archive):
    root, pinned = archive
    (root / "pool/a_1.deb").write_bytes(b"changed")
    with pytest.raises(UserError, match=rf"a_1\.deb: expected SHA-256 {_sha256(b'a')}, found {_sha256(b'changed')}"):
        mirror.fetch(pinned, root.as_uri())


def test_an_unreachable_mirror_is_not_taken_for_a_package_that_is_gone(archive):
    _, pinned = archive
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9/pool/a_1\.deb cannot be fetched: .*--mirror"):
        mirror.fetch(pinned, "http://127.0.0.1:9")


@pytest.mark.skipif(not shutil.which("gpgv"), reason="needs gpgv")
def test_the_real_gpgv_refuses_a_file_without_a_signature(archive, monkeypatch, tmp_path):
    root, pinned = archive
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "empty.gpg").write_bytes(b"")
    monkeypatch.setattr(index, "KEYRINGS", [tmp_path / "empty.gpg"])
    with pytest.raises(UserError, match="is not signed by a key of"):
        mirror.fetch(pinned, root.as_uri())


def test_the_mirror_is_the_option_then_the_variable_then_that_of_apt(tmp_path, monkeypatch):
    script = tmp_path / "apt-get"
    script.write_text(
        '#!/bin/sh\n[ "$1 $4 $5" = "indextargets Origin: Debian Label: Debian" ] && echo cdrom:x http://mirror.example/debian/\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("EDGEDISTILL_DEBIAN_MIRROR", "http://variable/")
    assert mirror.choose("http://option/") == "http://option"
    assert mirror.choose(None) == "http://variable"
    monkeypatch.delenv("EDGEDISTILL_DEBIAN_MIRROR")
    assert mirror.choose(None) == "http://mirror.example/debian"
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match="with --mirror or in EDGEDISTILL_DEBIAN_MIRROR"):
        mirror.choose(None)


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """A folder of wheels that is pip's only source, with one wheel for aarch64 in it."""
    file = "thing-1.0-cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / file, "w") as archive:
        archive.writestr("thing/__init__.py", "")
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr(
            "thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp313-cp313-manylinux_2_17_aarch64\n"
        )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return lock.Wheel("thing", "1.0", file, _sha256((folder / file).read_bytes()))


def test_wheels_of_another_machine_come_by_pip_and_are_checked(pip, tmp_path):
    (path,) = packages.download([pip], tmp_path)
    assert sorted(packages.unpack_wheel(path)) == ["thing-1.0.dist-info/METADATA", "thing-1.0.dist-info/WHEEL", "thing/__init__.py"]
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=rf"pip could not fetch the wheels of the kit: .*Expected sha256 0{{64}} .* Got +{pip.sha256}"):
        packages.download([replace(pip, sha256="0" * 64)], tmp_path / "other")


def test_a_kit_is_built_once_and_again_when_its_file_was_damaged(pip, tmp_path, monkeypatch, capsys):
    root = tmp_path / "debian"
    root.mkdir()
    pins = []
    for name, files in DEBS.items():
        data = _deb(files)
        (root / f"{name}.deb").write_bytes(data)
        pins.append(lock.Deb(name, "1-2", f"{name}.deb", _sha256(data)))
    pinned = replace(PINNED, debs=tuple(pins), wheels=(pip,))
    monkeypatch.setattr(lock, "read", lambda arch: pinned)
    first = kit.build("aarch64", cache=tmp_path / "cache", mirror=root.as_uri())
    manifest = json.loads((first.path.parent / "manifest.json").read_text())
    assert manifest["schema"] == "edgedistill/kit/1"
    assert manifest["runtimes"] == {"thing": "1.0"}
    assert manifest["libraries"] == [LOADER, "libc.so.6", "libdeep.so.1", "libz.so.1"]
    assert [package["from"] for package in manifest["packages"]] == ["Debian"] * 4 + ["PyPI"]
    printed = {"path": str(first.path), **manifest}
    assert KitFacts.model_validate(printed).model_dump(mode="json") == printed
    assert manifest["sha256"] == first.manifest.sha256 == _sha256(first.path.read_bytes())
    with tarfile.open(first.path) as archive:
        inside = json.load(archive.extractfile("manifest.json"))
    assert inside.items() <= manifest.items()
    shutil.rmtree(root)
    assert kit.build("aarch64", cache=tmp_path / "cache") == first
    first.path.write_bytes(gzip.compress(b"half"))
    capsys.readouterr()
    with pytest.raises(UserError, match="InRelease does not exist"):
        kit.build("aarch64", cache=tmp_path / "cache", mirror=root.as_uri())
    assert "is not what its manifest says" in capsys.readouterr().err


def test_the_start_file_runs_this_folders_python_and_no_other(tmp_path):
    folder = tmp_path / "a kit"
    (folder / "lib").mkdir(parents=True)
    shutil.copy(ROOT / "edgedistill/measure/kit/python.sh", folder / "python")
    # The loader is played by a script that tells how it was started.
    text = (folder / "python").read_text().replace("@LOADER@", "loader")
    (folder / "python").write_text(text)
    (folder / "lib/loader").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\necho "preload: ${LD_PRELOAD-none}"\n')
    for path in ("python", "lib/loader"):
        (folder / path).chmod(0o755)
    for command in (["./a kit/python"], ["sh", "a kit/python"], [str(folder / "python")]):
        done = subprocess.run(
            [*command, "-c", "a b"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            env={"CDPATH": str(tmp_path), "LD_PRELOAD": "", "PATH": "/bin"},
        )
        lines = done.stdout.splitlines()
        assert lines[lines.index("--argv0") + 1] == str(folder / "python")
        assert lines[lines.index("--library-path") + 1] == str(folder / "lib")
        assert str(folder / "bin/python3.13") in lines
        assert lines[-3:] == ["-c", "a b", "preload: none"]
