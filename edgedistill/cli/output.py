"""Prints results of commands to stdout and everything else to stderr, and exits with the code of the outcome."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from edgedistill import processes
from edgedistill.errors import STATUS_CODES, EdgeDistillError, UserError


def finish(as_json: bool, work: Callable[[], Any], show: Callable[[Any], None]) -> NoReturn:
    """Do `work`, print its document (a record or plain JSON, by `show` or as JSON), and exit; None prints nothing.

    The exit code is 0, 3 if a check failed, 4 if a runtime failed, or that of the error.
    """
    try:
        with _stdout_for_result() as result:
            document = work()
        if document is None or not processes.is_main():
            sys.exit(0)
        plain = document if isinstance(document, dict) else document.model_dump(mode="json")
        code = STATUS_CODES.get(str(plain.get("status")), 0)
        if as_json:
            print(json.dumps(plain, indent=2, allow_nan=False), file=result)
        else:
            show(document)
        sys.exit(code)
    except EdgeDistillError as error:
        _fail(as_json, type(error).__name__, str(error), getattr(error, "errors", [str(error)]), error.exit_code)
    except ImportError as error:
        from edgedistill.packages import missing_extra

        if error.name is None or (missing := missing_extra(error.name)) is None:
            _unexpected(as_json, error)
        _fail(as_json, type(missing).__name__, str(missing), [str(missing)], missing.exit_code)
    except KeyboardInterrupt:
        _fail(as_json, "KeyboardInterrupt", "interrupted; the same command continues from here", [], 130)
    except Exception as error:
        _unexpected(as_json, error)


def wrong_command_line(error: Exception, *, as_json: bool) -> NoReturn:
    """Report a wrong option or argument, and exit with 2."""
    show = getattr(error, "show", None)
    if show is not None:
        # The parser writes usage and hint to stderr.
        show()
    message = str(getattr(error, "format_message", error.__str__)())
    if as_json:
        print(json.dumps({"error": {"type": "UsageError", "message": message, "errors": [message], "exit_code": 2}}, indent=2))
    sys.exit(UserError.exit_code)


def _unexpected(as_json: bool, error: Exception) -> NoReturn:
    traceback.print_exception(error)
    _fail(as_json, type(error).__name__, f"unexpected {type(error).__name__}: {error}", [str(error)], 1)


def _fail(as_json: bool, kind: str, message: str, errors: list[str], code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    if as_json and processes.is_main():
        print(json.dumps({"error": {"type": kind, "message": message, "errors": errors, "exit_code": code}}, indent=2))
    sys.exit(code)


@contextmanager
def _stdout_for_result() -> Iterator[Any]:
    """Reserve stdout for the result: the output of libraries and their C code goes to stderr."""
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
