"""Answers a prompt by a model file: `python -m edgedistill.steps.generate_file JOB.json`.

It prints a JSON object a line: {"piece"} as the text comes, and at last the answer, or {"mistake"} for what a user did wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.steps.telling import telling
from edgedistill.tasks.causal_lm.writer import Writer


def answer(told: Mapping[str, Any], give: Callable[[str], None]) -> dict[str, Any]:
    """The answer to the messages of `told`. Raises UserError for a prompt that does not fit, and for a schema that cannot be followed."""
    writer = Writer(told)
    try:
        prompt = writer.prompts.chat(told["messages"])
    except ValueError as error:
        raise UserError(str(error)) from error
    return writer.answer(prompt, give)


if __name__ == "__main__":
    sys.exit(telling(lambda say: say(answer(read_json(Path(sys.argv[1])), lambda piece: say({"piece": piece})))))
