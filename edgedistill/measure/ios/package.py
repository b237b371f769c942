"""Reads the bundle identifier of an .ipa or .app on this machine."""

import plistlib
import re
import zipfile
from pathlib import Path
from xml.parsers.expat import ExpatError

from edgedistill.errors import UserError

SUFFIXES = (".ipa", ".app")
_INFO = re.compile(r"Payload/[^/]+\.app/Info\.plist")
_MOST = 4 << 20


def bundle_of(package: Path) -> str:
    """The bundle identifier of a package. Raises UserError for what is none."""
    try:
        values = plistlib.loads(_info(package))
    except (OSError, ValueError, zipfile.BadZipFile, plistlib.InvalidFileException, ExpatError) as error:
        raise UserError(f"{package} is no app: {error}; expected an .ipa, or an .app that Xcode built for iOS") from error
    bundle = values.get("CFBundleIdentifier") if isinstance(values, dict) else None
    if not isinstance(bundle, str) or not bundle:
        raise UserError(f"{package} is no app: its Info.plist has no CFBundleIdentifier")
    return bundle


def _info(package: Path) -> bytes:
    if package.is_dir():
        with open(package / "Info.plist", "rb") as handle:
            return _bounded(handle.read(_MOST + 1))
    with zipfile.ZipFile(package) as archive:
        name = next((name for name in archive.namelist() if _INFO.fullmatch(name)), None)
        if name is None:
            raise ValueError("it has no Payload/NAME.app/Info.plist")
        with archive.open(name) as handle:
            return _bounded(handle.read(_MOST + 1))


def _bounded(data: bytes) -> bytes:
    if len(data) > _MOST:
        raise ValueError(f"its Info.plist has more than {_MOST >> 20} MiB")
    return data
