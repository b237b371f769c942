"""What first recipes of tasks of text have in common."""

import json
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.tasks.base import Starter

_KINDS = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def of_table(parts: str, columns: str, *, default: str, targets: tuple[str, ...] = ("text-mobile", "text-linux")) -> Starter:
    """A starter whose data are a table with the `columns`; `{source}` in `parts` becomes its source."""
    data = f"a .jsonl, .csv or .parquet file with {columns}"
    return Starter(data=data, default=default, parts=lambda given: parts.format(source=_source(given, data)), targets=targets)


def _source(data: str, expected: str) -> str:
    """The source that a file is, as YAML says it. Raises UserError, with what is expected, where there is no such file."""
    file = Path(data).expanduser()
    kind = _KINDS.get(Path(file.name.removesuffix(".gz")).suffix)
    if kind is None or not file.is_file():
        raise UserError(f"found '{data}', expected {expected}")
    # A JSON string is a YAML string, whatever the path holds.
    return f"{{{kind}: {json.dumps(str(file), ensure_ascii=False)}}}"
