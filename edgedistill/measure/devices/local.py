"""This machine as a device."""

import os
import shutil
from pathlib import Path

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.base import Reply
from edgedistill.measure.devices.commands import call, complete


class LocalDevice:
    """The machine that edgedistill runs on. It has no link that could drop."""

    spec = "local"

    @property
    def root(self) -> str:
        """A folder in the user's cache."""
        return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgedistill" / "local")

    def sh(self, script: str, *, timeout_s: float = 60) -> Reply:
        """Run a script by `sh`; see `base.Device`."""
        return call(["sh", "-c", script], timeout_s=timeout_s)

    def push(self, source: Path, target: str) -> None:
        """Copy a file; see `base.Device`."""
        part = complete(Path(target))
        try:
            shutil.copyfile(source, part)
            part.replace(target)
        except OSError as error:
            raise DeviceFailed(f"{source} could not be copied to {target}: {error}") from error
        finally:
            part.unlink(missing_ok=True)

    def pull(self, source: str, target: Path) -> None:
        """Copy a file; see `base.Device`."""
        self.push(Path(source), str(target))

    def reconnect(self) -> None:
        """There is nothing to connect."""
