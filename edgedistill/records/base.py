"""What every record can do, and the record of a value that is missing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from edgedistill.files import reading, write_text


class Record(BaseModel):
    """What every record can do. A field of `left_out` that is None is missing in JSON, where others are null."""

    model_config = ConfigDict(extra="ignore", serialize_by_alias=True, validate_by_name=True, validate_by_alias=True, defer_build=True)

    left_out: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_what_is_missing(self, write: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        # Without a return type, the JSON Schema stays that of the fields.
        written = write(self)
        for name in self.left_out:
            if written.get(name, 0) is None:
                del written[name]
        return written

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in the JSON file `path`. Raises DamagedFile where it holds none."""
        with reading(path):
            return cls.model_validate_json(path.read_text(encoding="utf-8"))

    def write(self, path: Path) -> None:
        """Write the record to `path` as JSON, whole or not at all."""
        write_text(path, self.model_dump_json(indent=2) + "\n")


class Unavailable(Record):
    """A value that could not be measured, and the reason: `{"value": null, "unavailable": why}` in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: None = None
    unavailable: str
