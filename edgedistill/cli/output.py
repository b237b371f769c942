"""What a command prints and how it ends: results on stdout, the rest on stderr, one exit code a kind of end."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from edgedistill import processes
from edgedistill.errors import CheckFailed, DeviceFailed, EdgeDistillError, UserError

_EXIT_CODES = {"check_failed": CheckFailed.exit_code, "runtime_failed": DeviceFailed.exit_code}


def finish(as_json: bool, work: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Do `work`, print its document (as JSON, or by `show`), and exit.

    The code is 0, 3 when a check failed, 4 when a runtime did, or the error's own.
    """
    try:
        with _stdout_for_result() as result:
            document = work()
        if not processes.is_main():
            sys.exit(0)
        code = _EXIT_CODES.get(str(document.get("status")), 0)
        if as_json:
            print(json.dumps(document, indent=2, allow_nan=False), file=result)
        else:
            show(document)
        sys.exit(code)
    except EdgeDistillError as error:
        _fail(as_json, type(error).__name__, str(error), getattr(error, "errors", [str(error)]), error.exit_code)
    except KeyboardInterrupt:
        _fail(as_json, "KeyboardInterrupt", "interrupted; the same command goes on from here", [], 130)
    except Exception as error:
        traceback.print_exc()
        _fail(as_json, type(error).__name__, f"unexpected {type(error).__name__}: {error}", [str(error)], 1)


def wrong_command_line(error: Exception, *, as_json: bool) -> NoReturn:
    """Tell that an option or argument is wrong, and exit with 2."""
    show = getattr(error, "show", None)
    if show is not None:
        # Usage and hint go to stderr, as the parser words them.
        show()
    message = str(getattr(error, "format_message", error.__str__)())
    if as_json:
        print(json.dumps({"error": {"type": "UsageError", "message": message, "errors": [message], "exit_code": 2}}, indent=2))
    sys.exit(UserError.exit_code)


def _fail(as_json: bool, kind: str, message: str, errors: list[str], code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    if as_json and processes.is_main():
        print(json.dumps({"error": {"type": kind, "message": message, "errors": errors, "exit_code": code}}, indent=2))
    sys.exit(code)


@contextmanager
def _stdout_for_result() -> Iterator[Any]:
    """Keep stdout for the result: what libraries and their C code print meanwhile goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, indent=2, allow_nan=False))
