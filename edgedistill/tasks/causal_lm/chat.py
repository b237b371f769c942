"""The tokenizer of a language model with its chat template: found, or trained on texts, and written as transformers and apps read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import UserError
from edgedistill.files import canonical_hash
from edgedistill.tasks.causal_lm.recipe import TrainedBytes
from edgedistill.tasks.text.tokenizing import vocabulary_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FOLDER = "tokenizer"
FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""What a tokenizer with its template is, for transformers and for apps; one without a template has only the first two."""
_PADDING, _END = "<|pad|>", "<|end|>"
_ROLES = ("system", "user", "assistant", "tool")
_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

Message = Mapping[str, str]


class Chat:
    """A tokenizer that makes tokens of prompts and completions; both apart, as they are when a model is asked.

    Raises UserError where it has no token that ends an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        if tokenizer.eos_token_id is None:
            raise UserError("the tokenizer has no eos_token, which ends an answer: name another tokenizer in data.tokenizer")
        self.end: int = tokenizer.eos_token_id
        """The token that ends an answer."""
        self.padding: int = self.end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.vocabulary = vocabulary_of(tokenizer.backend_tokenizer)

    @cached_property
    def identity(self) -> str:
        """Changes with the number of any token."""
        return canonical_hash(self.tokenizer.get_vocab())

    @property
    def chats(self) -> bool:
        """Whether it has a chat template; without one a prompt is a text that the model continues."""
        return self.tokenizer.chat_template is not None

    def prompts(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        """The tokens of each conversation, up to where the answer begins."""
        if not self.chats:
            return self._encoded(["\n".join(message["content"] for message in messages) for messages in conversations], special=True)
        # A template writes what a tokenizer would put in front of a text.
        rendered: Any = self.tokenizer.apply_chat_template(
            [[dict(m) for m in c] for c in conversations], tokenize=False, add_generation_prompt=True
        )
        return self._encoded(rendered)

    def completions(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each answer with the token that ends it."""
        return [[*tokens, self.end] for tokens in self._encoded(texts)]

    def _encoded(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        return [encoding.ids for encoding in self.tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=special)]

    def save(self, folder: Path) -> None:
        """Write it as `FILES` into `folder`."""
        self.tokenizer.save_pretrained(str(folder))


def fingerprint(reference: str | None) -> list[Any]:
    """Changes where the files of a tokenizer could have changed; of a name on the hub it is the name."""
    place = Path(reference).expanduser() if reference else None
    files = [place / name for name in FILES] if place is not None and place.is_dir() else [place] if place else []
    return [reference, [file.stat().st_size if file.is_file() else None for file in files]]


def found(reference: str) -> Chat:
    """The tokenizer of a model's folder, of a name on the hub, or of a tokenizer.json. Raises UserError where there is none."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    path = Path(reference).expanduser()
    made: Any
    try:
        if path.is_file():
            made = PreTrainedTokenizerFast(tokenizer_file=str(path))
        else:
            made = AutoTokenizer.from_pretrained(reference, trust_remote_code=False)
    except Exception as error:
        # The library raises Exception itself for a file that it cannot read.
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"found no tokenizer in '{reference}' ({said}); name a folder or a tokenizer.json by data.tokenizer") from error
    if not hasattr(made, "backend_tokenizer"):
        raise UserError(f"the tokenizer of '{reference}' has no tokenizer.json, which apps read: convert it, or name another one")
    return Chat(made)


def trained(config: TrainedBytes, texts: Iterable[str]) -> Chat:
    """A tokenizer of bytes with the most frequent pairs in `texts`, and a template with a token for each role (arXiv 1508.07909)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    roles = [f"<|{role}|>" for role in _ROLES]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        special_tokens=[_PADDING, _END, *roles],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=_END, pad_token=_PADDING, additional_special_tokens=roles)
    tokenizer.chat_template = _TEMPLATE
    return Chat(tokenizer)


def messages_of(text: str) -> list[dict[str, Any]]:
    """The conversation that a column holds as JSON. Raises ValueError with what is wrong."""
    try:
        messages = json.loads(text)
    except ValueError as error:
        raise ValueError(f"no JSON ({error})") from error
    wrong = "expected a list of {role, content}, the last by the assistant"
    if not isinstance(messages, list) or len(messages) < 2:
        raise ValueError(wrong)
    for message in messages:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise ValueError(wrong)
    if messages[-1]["role"] != "assistant":
        raise ValueError(f"the last message is by {messages[-1]['role']}, {wrong}")
    return messages
