"""What child processes that answer have in common: they tell documents, a line of JSON each, and mistakes as such."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from edgedistill.errors import UserError

Say = Callable[[Mapping[str, Any]], None]


def telling(work: Callable[[Say], None]) -> int:
    """Do `work`, which says documents on stdout; the exit code. What libraries print goes to stderr.

    A mistake of the user, or a package that is missing, is the document `mistake`.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(document: Mapping[str, Any]) -> None:
        print(json.dumps(document), file=out, flush=True)

    try:
        work(say)
    except UserError as error:
        say({"mistake": str(error)})
        return 2
    except ImportError as error:
        from edgedistill.packages import missing_extra

        if error.name is None or (missing := missing_extra(error.name)) is None:
            raise
        say({"mistake": str(missing)})
        return 2
    return 0
