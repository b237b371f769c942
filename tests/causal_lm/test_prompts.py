"""Prompts of language models without transformers: the same tokens by the same templates, and texts piece by piece."""

from pathlib import Path
from typing import Any

import pytest
from made_llm import recipe

from edgedistill.tasks.causal_lm import chat
from edgedistill.tasks.causal_lm.glue.python.prompts import Pieces, Prompts, special_tokens
from edgedistill.tasks.causal_lm.task import CAUSAL_LM

ASKED = {"role": "user", "content": "What is the weather in Ulm today?"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that was trained on the texts of a recipe."""
    folder = tmp_path_factory.mktemp("prompts")
    CAUSAL_LM.source(recipe(folder)).prepare(folder / "data", 0)
    return folder / "data" / chat.FOLDER


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m.content | trim }}\n{% endfor %}{{ '>' if add_generation_prompt }}",
        "{% for m in messages %}\n    {% if loop.index == 3 %}\n        {% break %}\n    {% endif %}\n{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% generation %}{{ m | tojson }}{% endgeneration %}{% endfor %}{% if tools %}tools{% endif %}",
        "{{ messages | tojson(indent=2) }}{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = 2 %}{% endfor %}{{ ns.n }}",
    ],
)
def test_templates_write_what_transformers_writes(folder: Path, template: str) -> None:
    known = chat.found(str(folder)).tokenizer
    known.chat_template, known.bos_token = template, "<|user|>"
    prompts = Prompts(folder / "tokenizer.json", template, {"bos_token": "<|user|>", "eos_token": "<|end|>"})
    for messages in ([ASKED], [{"role": "system", "content": " ü < \"'&\n "}, ASKED, {"role": "assistant", "content": "a"}, ASKED]):
        expected: Any = known.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert prompts.chat(messages) == known.backend_tokenizer.encode(expected, add_special_tokens=False).ids


def test_a_tokenizer_puts_its_own_tokens_before_texts_and_not_before_what_a_template_wrote(folder: Path, tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    known = chat.found(str(folder))
    known.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<|system|> $A", special_tokens=[("<|system|>", 2)])
    known.tokenizer.save_pretrained(str(tmp_path))
    template = (folder / chat.FILES[2]).read_text()
    written = Prompts(tmp_path / chat.FILES[0], template, {}).chat([ASKED])
    assert written == known.prompts([[ASKED]])[0]
    known.tokenizer.chat_template = None
    continued = Prompts(tmp_path / chat.FILES[0], None, {}).chat([ASKED])
    assert continued == known.prompts([[ASKED]])[0]
    assert [tokens.count(2) for tokens in (written, continued)] == [0, 1]


def test_characters_of_several_tokens_come_whole(folder: Path) -> None:
    prompts = Prompts(folder / "tokenizer.json", None, {})
    text = "a 語 🌧 ü"
    tokens = prompts.complete(text)
    pieces = Pieces(prompts)
    given = [pieces.add(token) for token in tokens]
    assert "".join(given) == text
    assert not any("\ufffd" in piece for piece in given)
    cut = Pieces(prompts)
    half = tokens[: given.index("語")]
    assert "".join(map(cut.add, half)) == "a "
    assert cut.rest(half) == "\ufffd"


def test_special_tokens_are_read_as_texts() -> None:
    found = special_tokens(
        {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>", "pad_token": None, "model_max_length": 9}
    )
    assert found == {"bos_token": "<s>", "eos_token": "</s>"}
