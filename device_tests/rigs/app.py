"""An app on the phone rig: a package with a measuring screen, which really measures, by the kit's own runner."""

import shutil
from pathlib import Path

from device_tests.rigs.phone import Phone

PACKAGE = "org.example.flowers"
_KIT = "/data/local/tmp/edgedistill"
# The kit is there, since the measurement that starts the app has brought it. Android's `am` gives the app a process of its name.
_ACTIVITY = """
cd {kit}/runner/*/ || exit 9
{kit}/kits/*/python {app}/measuring_app.py "$1" {app}/model {folder} {mode}
exit $?
"""
_DUMP = """Packages:
  Package [{package}] (5d8e1f2):
    userId=10234
    versionCode=42 minSdk=26 targetSdk=36
    versionName=1.7.0
    flags=[ {flags}HAS_CODE ALLOW_CLEAR_USER_DATA ]
"""


def install(
    phone: Phone, model: Path, *, way: str = "run-as", mode: str = "well", activity: str | None = ".MeasureActivity"
) -> None:  # fmt: skip
    """Install the app with `model` in it.

    way: how its records can be read: run-as for a debuggable build, files, or content. mode: what goes wrong, see `measuring_app`.
    activity: the name of the measuring screen, None for an app without one.
    """
    folder = phone.path(f"/data/app/{PACKAGE}")
    folder.mkdir()
    shutil.copy(model, folder / "model")
    shutil.copy(Path(__file__).parent / "measuring_app.py", folder)
    (folder / {"run-as": "debuggable", "files": "release", "content": "provider"}[way]).touch()
    there = {
        "run-as": f"/data/data/{PACKAGE}/files",
        "files": f"/sdcard/Android/data/{PACKAGE}/files",
        "content": f"/data/data/{PACKAGE}/cache",
    }
    if activity is not None:
        text = _ACTIVITY.format(kit=_KIT, app=f"/data/app/{PACKAGE}", folder=there[way], mode=mode)
        (folder / activity).write_text(text)
    phone.state.dump(f"package.{PACKAGE}", _DUMP.format(package=PACKAGE, flags="DEBUGGABLE " if way == "run-as" else ""))
