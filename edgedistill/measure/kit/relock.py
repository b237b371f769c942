"""Write lock.json anew from the mirror's signed index and from PyPI: `python -m edgedistill.measure.kit.relock [MIRROR]`, for maintainers.

Names of packages stay; Debian's versions become the newest of the suite, and those of wheels the ones that lock.json names.
"""

import sys
from dataclasses import asdict
from pathlib import Path

from edgedistill.files import read_json, write_json
from edgedistill.measure.kit import index, lock, mirror


def main() -> None:
    """Replace version, path and hash of every Debian package by those of the index."""
    document = read_json(lock.PATH)
    url = mirror.choose(sys.argv[1] if len(sys.argv) > 1 else None)
    for entry in document["architectures"].values():
        names = [deb["name"] for deb in entry["debs"]]
        newest = index.packages(url, document["suite"], entry["debian"], names)
        entry["debs"] = [asdict(newest[name]) for name in names]
    write_json(Path(lock.PATH), document)


if __name__ == "__main__":
    main()
