"""The JSON Schema of a run's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedistill.errors import DamagedFile, UserError
from edgedistill.files import read_json, write_json
from edgedistill.tasks.causal_lm.recipe import Data

FILE = "schema.json"
_CALL = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
    "required": ["name", "arguments"],
    "additionalProperties": False,
}
"""What every tool call fits."""


def save(data: Data, folder: Path) -> None:
    """Write the schema of the answers into `folder`, where they have one. Raises UserError for what is no JSON Schema."""
    made = of(data)
    if made is None:
        return
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(made).check_schema(made)
    except SchemaError as error:
        place = "/".join(map(str, error.path))
        raise UserError(f"data.json_schema: found no JSON Schema ({place + ': ' if place else ''}{error.message})") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE, made)


def of(data: Data) -> Any:
    """The schema that answers have to fit; None for texts, and for JSON of any form."""
    if isinstance(data.json_schema, Path):
        try:
            return read_json(data.json_schema)
        except DamagedFile as error:
            raise UserError(f"data.json_schema: {error}") from error
    return data.json_schema or (_CALL if data.format == "tool-call" else None)
