"""Tokenizers: found, or trained on texts, and written as one tokenizer.json, which every runtime's library reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.tasks.text.recipe import TrainedTokenizer

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def found(reference: str, length: int) -> Tokenizer:
    """The tokenizer of a tokenizer.json, a model's folder or a name on the hub, which cuts texts at `length` tokens."""
    from tokenizers import Tokenizer

    path = Path(reference).expanduser()
    try:
        if path.is_file():
            made = Tokenizer.from_file(str(path))
        elif (path / FILE).is_file():
            made = Tokenizer.from_file(str(path / FILE))
        else:
            from transformers import AutoTokenizer

            # One without a tokenizer.json is converted where it can be.
            made = AutoTokenizer.from_pretrained(reference, trust_remote_code=False).backend_tokenizer
    except Exception as error:
        # The library raises Exception itself for a file that it cannot read.
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"found no tokenizer in '{reference}' ({said}); name a folder or a tokenizer.json by data.tokenizer") from error
    if set(made.get_vocab()) <= {token.content for token in made.get_added_tokens_decoder().values()}:
        # What transformers makes of a folder without any file of a tokenizer.
        raise UserError(
            f"found no tokenizer in '{reference}' (no words, only special tokens); name a folder or a tokenizer.json by data.tokenizer"
        )
    return _cutting(made, length)


def trained(config: TrainedTokenizer, texts: Callable[[], Iterable[str]], length: int) -> Tokenizer:
    """A WordPiece tokenizer with the vocabulary of `texts`, which puts [CLS] in front and [SEP] behind. Schuster and Nakajima 2012.

    texts: gives them anew each time it is called. The same texts give the same tokenizer, byte for byte.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    def with_words(size: int, first: list[str]) -> Tokenizer:
        """One of `size` tokens, which begin with `first`."""
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
        made.normalizer = normalizers.BertNormalizer(lowercase=config.lowercase)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.train_from_iterator(texts(), trainers.WordPieceTrainer(vocab_size=size, special_tokens=first, show_progress=False))
        return made

    # The trainer numbers the letters inside of words in the order of a hash map, and breaks ties of pairs by these numbers: so they are
    # given to it in a fixed order (huggingface/tokenizers, issue 1794). A vocabulary without room for words has all of these letters.
    letters = sorted(token for token in with_words(0, _SPECIAL).get_vocab() if len(token) > 1 and token not in _SPECIAL)
    known = with_words(config.vocabulary, [*_SPECIAL, *letters])
    # Only the special tokens of these are found in a text as they stand.
    made = Tokenizer(known.model)
    made.normalizer, made.pre_tokenizer = known.normalizer, known.pre_tokenizer
    made.add_special_tokens(_SPECIAL)
    ends = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return _cutting(made, length)


def _cutting(tokenizer: Tokenizer, length: int) -> Tokenizer:
    if (ends := tokenizer.num_special_tokens_to_add(is_pair=False)) >= length:
        raise UserError(f"found data.length {length}, expected more than the {ends} tokens that the tokenizer puts around a text")
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return tokenizer


def padding_of(tokenizer: Tokenizer) -> int:
    """The token that fills up a text: [PAD] or the like; 0 where it has none, since the mask hides it."""
    return next((number for token in ("[PAD]", "<pad>") if (number := tokenizer.token_to_id(token)) is not None), 0)


def unknown_of(tokenizer: Tokenizer) -> int | None:
    """The token that stands for what is not in the vocabulary; None where there is none, since every byte is a token."""
    return next((number for token in ("[UNK]", "<unk>") if (number := tokenizer.token_to_id(token)) is not None), None)


def vocabulary_of(tokenizer: Tokenizer) -> int:
    """How many rows an embedding of its tokens needs."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def encoded(tokenizer: Tokenizer, texts: list[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of `texts`, int32 [n, length], filled up behind, and how many each has, int32 [n]."""
    import numpy as np

    tokens = np.full((len(texts), length), padding_of(tokenizer), np.int32)
    counts = np.zeros(len(texts), np.int32)
    for row, encoding in enumerate(tokenizer.encode_batch_fast(texts)):
        tokens[row, : len(encoding.ids)] = encoding.ids
        counts[row] = len(encoding.ids)
    return tokens, counts
