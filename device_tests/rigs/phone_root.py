"""The files of the phone: Debian's adbd, which is Android's, with mksh and toybox, Android's own shell and commands."""

import shutil
from pathlib import Path

from device_tests.rigs import debian
from device_tests.rigs.cache import built

_PACKAGES = ["adbd", "mksh", "toybox"]
_FILES = Path(__file__).parent / "phone_files"


def phone_root(architecture: str) -> Path:
    """The root folder of a phone, "amd64" or "arm64"; raises RigUnavailable when it cannot be built here."""
    return (
        built(f"phone-{architecture}", ["debian.py", "phone_root.py", "phone_files"], lambda folder: _build(folder, architecture)) / "root"
    )


def _build(folder: Path, architecture: str) -> None:
    root = folder / "root"
    debs = debian.fetch(_PACKAGES, architecture, folder / "apt")
    debian.unpack(debs, root)
    if (root / "usr/lib64").is_dir():
        (root / "lib64").symlink_to("usr/lib64")
    for name in ("system/bin", "data", "sdcard", "proc", "sys", "dev", "etc", "tmp", "rig"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shell = ["root:x:0:0::/:/system/bin/sh", "shell:x:2000:2000::/:/system/bin/sh"]
    (root / "etc/passwd").write_text("\n".join(shell) + "\n")
    (root / "etc/group").write_text("root:x:0:\nsystem:x:1000:\nshell:x:2000:\n")
    (root / "bin/sh").symlink_to("mksh")
    (root / "system/bin/sh").symlink_to("/usr/bin/mksh")
    # Commands that Android 14 has, as far as Debian's toybox has them: it lacks dd, diff, expr, getopt, gzip, lsof and tr.
    for applet in (_FILES / "applets").read_text().split():
        (root / "system/bin" / applet).symlink_to("/usr/bin/toybox")
    for name in ("getprop", "dumpsys", "settings", "am", "run-as", "content", "logcat"):
        shutil.copy(_FILES / name, root / "system/bin" / name)
        (root / "system/bin" / name).chmod(0o755)
    shutil.rmtree(folder / "apt")
