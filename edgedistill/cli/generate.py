"""The command generate."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.output import finish
from edgedistill.errors import UserError
from edgedistill.records import Unavailable

if TYPE_CHECKING:
    from edgedistill.records.generated import GeneratedText

_STDIN = "-"


def generate(source: Path, prompt: str, options: dict[str, Any], writing: dict[str, Any], *, as_json: bool) -> None:
    """Answer a prompt. options, writing: of `steps.generate.generate` and of its `Writing`."""
    # While the command works, what it prints goes to stderr.
    screen = os.fdopen(os.dup(1), "w", encoding="utf-8") if sys.stdout.isatty() and not as_json else None

    def work() -> GeneratedText:
        from edgedistill.steps.generate import Writing, generate

        def stream(piece: str) -> None:
            print(_plain(piece), end="", flush=True, file=screen)

        text = _stdin() if prompt == _STDIN else prompt
        return generate(source, text, **options, writing=Writing(**writing), on_text=None if screen is None else stream)

    def show(document: GeneratedText) -> None:
        print(_plain(document.text) if screen is None else "")
        rate = document.tokens_per_s
        speed = f"unavailable ({rate.unavailable})" if isinstance(rate, Unavailable) else f"{rate:.1f} tokens/s"
        ended = "" if document.finish == "stop" else ", cut off at the limit"
        print(
            f"{document.artifact}: {document.prompt_tokens} + {len(document.tokens)} tokens{ended}, the first after "
            f"{document.time_to_first_token_ms:.1f} ms, then {speed}",
            file=sys.stderr,
        )

    finish(as_json, work, show)


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"found a prompt on stdin that is not UTF-8 ({error.reason} at byte {error.start}), expected a text") from error


def _plain(text: str) -> str:
    """The text without control characters, by which a model could change the terminal; ends of lines and tabs stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
