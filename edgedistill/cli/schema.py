"""The command schema: the JSON Schema of what other commands print with --json."""

from __future__ import annotations

from typing import Any

from edgedistill.cli.output import finish
from edgedistill.errors import UserError


def schema(document: str | None, *, as_json: bool) -> None:
    """List the documents, or print the JSON Schema of one."""

    def work() -> dict[str, Any]:
        from edgedistill.records.documents import documents

        known = documents()
        if document is None:
            return {"documents": sorted(known)}
        if document not in known:
            raise UserError(f"found no document '{document}', expected one of {', '.join(sorted(known))}")
        return known[document].model_json_schema(mode="serialization", by_alias=True)

    finish(as_json or document is not None, work, lambda found: print("\n".join(found["documents"])))
