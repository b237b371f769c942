"""What first recipes of tasks of text have in common."""

import json
from pathlib import Path

from edgedistill.errors import UserError

_KINDS = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def source(data: str, expected: str) -> str:
    """The source that a file is, as YAML says it. Raises UserError, with what is expected, where there is no such file."""
    file = Path(data).expanduser()
    kind = _KINDS.get(Path(file.name.removesuffix(".gz")).suffix)
    if kind is None or not file.is_file():
        raise UserError(f"found '{data}', expected {expected}")
    # A JSON string is a YAML string, whatever the path holds.
    return f"{{{kind}: {json.dumps(str(file), ensure_ascii=False)}}}"
