"""The child process: prints the delegation of the file of the command line."""

import importlib
import sys
from pathlib import Path

from edgedistill.backends import backend
from edgedistill.backends.delegation.nodes import Reading, report
from edgedistill.records import Delegation, Unavailable, UnknownDelegation


def main() -> None:
    """Print the report of the file as one line of JSON."""
    kind, path = sys.argv[1:]
    module = backend(kind).delegation
    answer: Delegation | UnknownDelegation | Unavailable
    if module is None:
        answer = Unavailable(unavailable=f"nothing on this machine tells who computes the operators of {kind}")
    else:
        reading: Reading | UnknownDelegation | Unavailable = importlib.import_module(module).read(Path(path))
        answer = report(kind, reading) if isinstance(reading, Reading) else reading
    print(answer.model_dump_json())


if __name__ == "__main__":
    main()
