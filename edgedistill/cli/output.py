"""Prints results of commands to stdout and everything else to stderr, and exits with the code of the outcome."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, NoReturn

from edgedistill import interrupts, processes, storage
from edgedistill.errors import STATUS_CODES, EdgeDistillError, UserError

_told: list[str] = []
"""The kinds of errors that were told."""


def finish(as_json: bool, work: Callable[[], Any], show: Callable[[Any], None], *, restores: bool = False) -> NoReturn:
    """Do `work`, print its document (a record or plain JSON, by `show` or as JSON), and exit; None prints nothing.

    The exit code is 0, 3 if a check failed, 4 if a runtime failed or the disk is full, 130 after an interrupt, or that of the error.
    restores: `work` has settings of devices to restore when it is interrupted, so that it is not ended before.
    """
    with interrupts.handled(None if restores else _Late(as_json)):
        _finish(as_json, work, show)


def _finish(as_json: bool, work: Callable[[], Any], show: Callable[[Any], None]) -> NoReturn:
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
        _fail(as_json, "KeyboardInterrupt", interrupts.MESSAGE, [], interrupts.EXIT_CODE)
    except Exception as error:
        if (failure := storage.failure_of(error)) is not None:
            _fail(as_json, type(failure).__name__, str(failure), [str(failure)], failure.exit_code)
        _unexpected(as_json, error)


class _Late:
    """Tells of an interrupt in place of a command that a library keeps from it."""

    def __init__(self, as_json: bool) -> None:
        self.as_json, self.result = as_json, os.dup(1)

    def __call__(self) -> None:
        """Write the message, and the document to what was stdout at first."""
        if _told:
            return
        with open(self.result, "w", encoding="utf-8") as result, redirect_stdout(result), suppress(SystemExit):
            _fail(self.as_json, "KeyboardInterrupt", interrupts.MESSAGE, [], interrupts.EXIT_CODE)


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
    _told.append(kind)
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
