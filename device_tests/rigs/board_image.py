"""The board's disk, kernel and first file system: a 64-bit ARM Debian, made without running anything of it."""

import gzip
import lzma
import os
import shutil
import subprocess
from pathlib import Path

from device_tests.rigs import debian
from device_tests.rigs.cache import built
from device_tests.rigs.debian import run
from device_tests.rigs.host_key import dropbear_form, make_key
from device_tests.rigs.phone_root import phone_root
from device_tests.rigs.phone_state import PhoneState

_FILES = Path(__file__).parent / "board_files"
_PACKAGES = [
    "base-files", "bash", "dash", "coreutils", "findutils", "grep", "sed", "gzip", "mawk", "util-linux", "mount", "procps", "tar",
    "xz-utils", "iproute2", "busybox-static", "dropbear-bin", "openssh-sftp-server",
]  # fmt: skip
_KERNEL = "linux-image-cloud-arm64"
_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4", "battery", "ac", "thermal")
USER = "edge"
"""The user that is not root, 1000."""
_FREE_MB = 700
_SOURCES = ["debian.py", "board_image.py", "board_files", "host_key.py", "phone_root.py", "phone_files", "phone_state.py"]


def board_image() -> Path:
    """The folder with vmlinuz, initrd.img, root.ext4, id (the client's key) and host_key.pub; RigUnavailable where it cannot be built."""
    return built("board", _SOURCES, _build)


def _build(folder: Path) -> None:
    apt, root, kernel = folder / "apt", folder / "root", folder / "kernel"
    debian.unpack(debian.fetch(_PACKAGES, "arm64", apt), root)
    run("dpkg-deb", "-x", debian.fetch_kernel(_KERNEL, apt), kernel)
    make_key(folder / "id", "rig")
    make_key(folder / "host_key", "board")
    _dress(root, folder)
    _phone(root / "phone", folder)
    _initrd(folder, root, kernel)
    _disk(root, folder / "root.ext4")
    for left in (apt, root, kernel):
        shutil.rmtree(left)


def _dress(root: Path, folder: Path) -> None:
    """Users, keys and the first process."""
    for name in ("proc", "sys", "dev", "run", "tmp", "mnt", "opt", "phone", "etc/dropbear"):
        (root / name).mkdir(parents=True, exist_ok=True)
    passwd = ["root:x:0:0:root:/root:/bin/bash", f"{USER}:x:1000:1000::/home/{USER}:/bin/bash", "nobody:x:65534:65534::/:/bin/false"]
    (root / "etc/passwd").write_text("\n".join(passwd) + "\n")
    (root / "etc/group").write_text(f"root:x:0:\n{USER}:x:1000:\nnogroup:x:65534:\n")
    (root / "etc/shadow").write_text("".join(f"{name}:*:19000:0:99999:7:::\n" for name in ("root", USER)))
    (root / "etc/shadow").chmod(0o600)
    (root / "etc/shells").write_text("/bin/sh\n/bin/bash\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost board\n")
    (root / "etc/hostname").write_text("board\n")
    for link, target in (("bin/sh", "dash"), ("bin/awk", "mawk")):
        if not (root / link).exists():
            (root / link).symlink_to(target)
    for home, owner in (("root", 0), (f"home/{USER}", 1000)):
        keys = root / home / ".ssh"
        keys.mkdir(parents=True)
        shutil.copy(folder / "id.pub", keys / "authorized_keys")
        for path, mode in ((root / home, 0o700), (keys, 0o700), (keys / "authorized_keys", 0o600)):
            path.chmod(mode)
            os.chown(path, owner, owner)
    (root / "etc/dropbear/host_key").write_bytes(dropbear_form(folder / "host_key"))
    (root / "etc/dropbear/host_key").chmod(0o600)
    for name in ("rig-init", "rig-phone"):
        shutil.copy(_FILES / name, root / "usr/sbin" / name)
        (root / "usr/sbin" / name).chmod(0o755)


def _phone(target: Path, folder: Path) -> None:
    """A 64-bit ARM phone on the board's disk."""
    shutil.copytree(phone_root("arm64"), target, symlinks=True, dirs_exist_ok=True)
    state = PhoneState(folder / "phone-state", "arm64")
    shutil.copytree(state.rig, target / "rig", dirs_exist_ok=True)
    shutil.rmtree(folder / "phone-state")


def _initrd(folder: Path, root: Path, kernel: Path) -> None:
    """First an archive with the table of the battery, which the kernel reads early and unpacked; then busybox and drivers."""
    early, late = folder / "early", folder / "late"
    tables = early / "kernel/firmware/acpi"
    tables.mkdir(parents=True)
    run("iasl", "-p", tables / "rig", _FILES / "rig.asl")
    for name in ("bin", "dev", "proc", "modules", "new"):
        (late / name).mkdir(parents=True)
    shutil.copy(root / "usr/bin/busybox", late / "bin/busybox")
    (late / "bin/sh").symlink_to("busybox")
    shutil.copy(_FILES / "init", late / "init")
    (late / "init").chmod(0o755)
    if not (kernel / "lib").exists():
        (kernel / "lib").symlink_to("usr/lib")
    (version,) = [path.name for path in (kernel / "lib/modules").iterdir()]
    run("depmod", "-b", kernel, version)
    names = []
    for module in _MODULES:
        for line in run("modprobe", "-d", kernel, "-S", version, "--show-depends", module).splitlines():
            file = Path(line.split()[1]) if line.startswith("insmod") else None
            if file is not None and file.name.removesuffix(".xz") not in names:
                names.append(file.name.removesuffix(".xz"))
                data = file.read_bytes()
                (late / "modules" / names[-1]).write_bytes(lzma.decompress(data) if file.suffix == ".xz" else data)
    (late / "modules/list").write_text("".join(f"{name}\n" for name in names))
    with open(folder / "initrd.img", "wb") as initrd:
        initrd.write(_archive(early / "kernel", early))
        initrd.write(gzip.compress(_archive(late, late), 1))
    (vmlinuz,) = (kernel / "boot").glob("vmlinuz-*")
    shutil.copy(vmlinuz, folder / "vmlinuz")
    shutil.rmtree(early)
    shutil.rmtree(late)


def _archive(what: Path, base: Path) -> bytes:
    """`what` in the form of cpio that the kernel reads, with names relative to `base`."""
    names = [str(path.relative_to(base)) for path in [what, *sorted(what.rglob("*"))]]
    done = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], input="\n".join(names).encode(), cwd=base, capture_output=True, check=True
    )
    return done.stdout


def _disk(root: Path, image: Path) -> None:
    """An ext4 file system of the files under `root`, with room."""
    used = int(run("du", "-sm", root).split()[0])
    with open(image, "wb") as file:
        file.truncate((used + _FREE_MB) << 20)
    # With a journal, so that it survives the power cuts of the tests.
    run("mke2fs", "-q", "-t", "ext4", "-m", "0", "-J", "size=8", "-d", root, image)
