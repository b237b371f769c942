"""The child process: prints what was found in the file of the command line."""

import importlib
import json
import sys
from pathlib import Path

from edgedistill.verify.delegation import READERS
from edgedistill.verify.delegation.nodes import report


def main() -> None:
    """Print the report of the file as one line of JSON."""
    kind, path = sys.argv[1:]
    if kind == "coreml":
        from edgedistill.verify.delegation import coreml

        print(json.dumps(coreml.read(Path(path))))
        return
    print(json.dumps(report(kind, importlib.import_module(READERS[kind]).read(Path(path)))))


if __name__ == "__main__":
    main()
