"""The command schema: the JSON Schema of what other commands print with --json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.errors import UserError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from edgedistill.records.catalogue import DocumentList


def schema(document: str | None, *, as_json: bool) -> None:
    """List the documents, or print the JSON Schema of one."""
    if document is not None:
        finish(True, lambda: _schema(document), print)
    finish(as_json, _documents, lambda listed: print("\n".join(listed.documents)))


def _documents() -> DocumentList:
    from edgedistill.records.catalogue import DocumentList
    from edgedistill.records.documents import documents

    return DocumentList(documents=sorted(documents()))


def _schema(document: str) -> dict[str, JsonValue]:
    from edgedistill.records.documents import documents

    known = documents()
    if document not in known:
        raise UserError(f"found no document '{document}', expected one of {', '.join(sorted(known))}")
    return known[document].model_json_schema(mode="serialization", by_alias=True)
