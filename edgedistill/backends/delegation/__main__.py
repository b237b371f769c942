"""The child process: prints what was found in the file of the command line."""

import importlib
import json
import sys
from pathlib import Path

from edgedistill.backends import backend
from edgedistill.backends.delegation.nodes import Reading, report
from edgedistill.backends.inspect.graph import unavailable


def main() -> None:
    """Print the report of the file as one line of JSON."""
    kind, path = sys.argv[1:]
    module = backend(kind).delegation
    if module is None:
        print(json.dumps(unavailable(f"nothing on this machine tells who computes the operators of {kind}")))
        return
    found = importlib.import_module(module).read(Path(path))
    print(json.dumps(report(kind, found) if isinstance(found, Reading) else found))


if __name__ == "__main__":
    main()
