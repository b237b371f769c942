"""The process that reads one model file: `python -m edgedistill.backends.inspect.worker FORMAT FILE`.

The last line of its output is the `Content` as JSON, {"damaged": why} or {"unsupported": what was found and what to do}.
"""

import json
import struct
import sys
from importlib import import_module
from pathlib import Path

from edgedistill.backends import backend, formats
from edgedistill.backends.inspect.graph import Unsupported
from edgedistill.files import tree_bytes
from edgedistill.packages import missing_extra
from edgedistill.records.inspection import Content

_MIN_MEMORY = 4 << 30


def _limit_memory(path: Path) -> None:
    """A damaged length must not make a parser take all memory of the machine."""
    try:
        import resource

        limit = _MIN_MEMORY + 8 * tree_bytes(path)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        # Windows has no such limit and macOS does not keep it; the time limit of the parent is left.
        pass


def main() -> None:
    """Print the content of the file of the command line."""
    kind, name = sys.argv[1:]
    path = Path(name)
    _limit_memory(path)
    try:
        if kind not in formats():
            raise Unsupported(f"found the format {kind}, expected one of {', '.join(formats())}")
        content: Content = import_module(backend(kind).inspect).read(path)
        text = json.dumps(content.model_dump(mode="json"), allow_nan=False)
    except Unsupported as error:
        text = json.dumps({"unsupported": str(error)})
    except ImportError as error:
        missing = missing_extra(error.name or "")
        text = json.dumps({"unsupported": str(missing or f"reading it takes a package that can't be imported: {error}")})
    except MemoryError:
        text = json.dumps({"damaged": "it asks for more memory than a file of its size can need"})
    except Exception as error:
        # Whatever a parser raises on a damaged file: there is no list of it.
        kind = "" if isinstance(error, ValueError | struct.error) else f"{type(error).__name__}: "
        text = json.dumps({"damaged": f"{kind}{error}"[:300]})
    print(f"\n{text}")


if __name__ == "__main__":
    main()
