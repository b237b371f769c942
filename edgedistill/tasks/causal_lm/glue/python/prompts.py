"""What a language model is asked, as tokens: its chat template and its tokenizer. It imports nothing else of its package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

Message = Mapping[str, str]
"""`role`, such as system, user or assistant, and `content`, a text."""


class Prompts:
    """Makes tokens of prompts, and texts of tokens, as in training.

    Args:
        tokenizer: The file tokenizer.json.
        template: The chat template, in Jinja as Hugging Face transformers writes it; None where a prompt is a text that is continued.
        special: Texts of special tokens that a template may name, as {"bos_token": "<s>"}.

    Raises:
        ImportError: The package tokenizers or jinja2 is not installed.
    """

    def __init__(self, tokenizer: Path, template: str | None, special: Mapping[str, str]) -> None:
        from tokenizers import Tokenizer

        self.tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._special = dict(special)
        self._template = None if template is None else _compiled(template)

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins. Raises ValueError with the reason where the template refuses it."""
        if self._template is None:
            return self.complete("\n".join(message["content"] for message in messages))
        from jinja2 import TemplateError

        try:
            text = self._template.render(
                messages=[dict(message) for message in messages], tools=None, documents=None, add_generation_prompt=True, **self._special
            )
        except TemplateError as error:
            raise ValueError(f"the chat template refuses the conversation: {error}") from error
        # The template writes what the tokenizer would put in front of a text.
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def complete(self, text: str) -> list[int]:
        """The tokens of a text that is continued."""
        return list(self.tokenizer.encode(text).ids)

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens say, without special ones."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))


class Pieces:
    """The text of an answer, piece by piece as its tokens come: a character may be made of several tokens."""

    def __init__(self, prompts: Prompts) -> None:
        from tokenizers.decoders import DecodeStream

        self._prompts, self._stream, self._given = prompts, DecodeStream(skip_special_tokens=True), ""

    def add(self, token: int) -> str:
        """The text that is whole with `token` and was not given before; empty where there is none."""
        piece = self._stream.step(self._prompts.tokenizer, token) or ""
        self._given += piece
        return piece

    def rest(self, tokens: Sequence[int]) -> str:
        """What is left of the text of all `tokens`, which end here, such as half a character."""
        whole = self._prompts.text(tokens)
        return whole[len(self._given) :] if whole.startswith(self._given) else ""


def special_tokens(configuration: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens that templates may name, of the content of tokenizer_config.json."""
    named = {name: value.get("content") if isinstance(value, dict) else value for name, value in configuration.items()}
    return {name: value for name, value in named.items() if name.endswith("_token") and isinstance(value, str)}


def _compiled(template: str) -> Any:
    """A template with what those of transformers use: loop controls, `tojson`, `raise_exception`, `strftime_now`, generation blocks."""
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`, by which templates mark what a model learns; it changes no text."""

        tags = {"generation"}  # noqa: RUF012  as the base class has it

        def parse(self, parser: Any) -> list[nodes.Node]:
            next(parser.stream)
            return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def as_json(value: Any, indent: int | None = None) -> str:
        # Jinja's own escapes what HTML does not hold.
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = as_json
    environment.globals.update(raise_exception=refuse, strftime_now=lambda form: datetime.now().strftime(form))
    return environment.from_string(template)
