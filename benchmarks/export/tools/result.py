"""What a tool's process says of itself; it needs nothing but Python, since a tool may live in an environment without the kit."""

import json
from importlib.metadata import version
from pathlib import Path


def write(path: str, *packages: str) -> None:
    """Write the most memory that this process has taken, MiB, and the versions of `packages` as JSON."""
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024
    Path(path).write_text(json.dumps({"peak_rss_mb": peak, "versions": {name: version(name) for name in packages}}))
