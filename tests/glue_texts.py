"""Texts that glue code of every language has to tokenize as training does, and tokenizers of the usual kinds, made here."""

import gzip
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from edgedistill.tasks.text import tokenizing
from edgedistill.tasks.text.recipe import TrainedTokenizer
from edgedistill.tasks.text.task import GOLDEN

REAL = Path(__file__).parents[1] / "benchmarks/data/debian_sections.jsonl.gz"
LENGTH = 24
HARD = (
    *GOLDEN,
    "e\u0301 \u00e9 E\u0301 \u00c9 o\u0308\u0304 \u1ebf",  # Accents that stand alone, and in one character.
    "\u0130stanbul \u0131\u015f\u0131k STRASSE stra\u00dfe \ufb01ne \u01c5 \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u03a3\u0391\u03a3",
    "\u4e2d\u6587\u5b57\u7b26abc\u4e2d \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab \u3072\u3089\u304c\u306a\u30ab\u30bf \U00020000\U0002a700",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940",
    "\u05e2\u05d1\u05b0\u05e8\u05b4\u05d9\u05ea \u0627\u0644\u0639\u064e\u0631\u064e\u0628\u0650",
    "\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f44d\U0001f3fd \u2764\ufe0f \U0001f1e9\U0001f1ea #\ufe0f\u20e3",
    "\u00a9 \u2122 \u20ac$\u00a3^`~|<=>+",
    "a\u00a0b\u2003c\u3000d\u200be\ufefff\u00adg\u2028h\u2029i\u0085j\u180ek",
    "a\x00b\x07c\x1bd\x7fe\x9ff\ufffdg\ue000h\U000f0000i\u0378j",
    "\t \n\r\n  \v\f ",
    "\uff21\uff22\uff23\uff11\uff12\uff13 \u2460 \u00bd \u00b2 \u2167 \u0661\u0662 1,234.5e-6",
    "[CLS] [SEP] [MASK] [UNK] [PAD] [mask] [ MASK ] x[MASK]y <s> </s> <mask>",
    "don't can't I'm you'll they've 'quoted' \u2018curly\u2019 \u201cdouble\u201d \u2026 \u2014 \u00bf\u00a1",
    "x" * 100, "x" * 101, "\u00e9" * 100, "e\u0301" * 60, "\U0001f642" * 101, "\U0001f642" * 60, "ab" * 2000, "apple, " * 900,
    "https://example.org/a_b?c=d&e=f#g user@example.org /usr/lib/x86_64-linux-gnu C++ C# F\u266f -- ... !!!",
)  # fmt: skip
"""Texts in which programs differ, or which are much longer than a model takes."""
_RANGES = (
    (0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2100),
    (0x2190, 0x2600), (0x3040, 0x3200), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xF900, 0xFB50), (0xFF00, 0xFFF0), (0x1F300, 0x1FA00),
    (0x10400, 0x10450), (0x20000, 0x20100),
)  # fmt: skip


def texts(count: int) -> list[str]:
    """`count` texts: the hard ones, then real ones, each fourth of which is mixed with characters of all writings."""
    rng = np.random.default_rng(23)
    found = list(HARD[:count])
    rows = _real()
    while len(found) < count:
        text = next(rows)
        found.append(f"{text} {_mixed(rng)} {text[::-1]}" if len(found) % 4 == 0 else text)
    return found


def _real() -> Iterator[str]:
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            # The table is in no order, so that neighbours are as good as any.
            if number % 50 == 0:
                yield json.loads(line)["text"]


def _mixed(rng: np.random.Generator) -> str:
    chosen = [_RANGES[number] for number in rng.integers(0, len(_RANGES), rng.integers(1, 12))]
    return "".join(chr(int(rng.integers(*bounds))) + " " * int(rng.random() < 0.2) for bounds in chosen)


def wordpiece(*, lowercase: bool = True, length: int = LENGTH) -> Tokenizer:
    """The tokenizer of a BERT."""
    return tokenizing.trained(TrainedTokenizer(vocabulary=4000, lowercase=lowercase), _training, length)


def bytelevel(length: int = LENGTH) -> Tokenizer:
    """The tokenizer of a RoBERTa: pairs of bytes."""
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(_training(), trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return _cut(made, length)


def pieces(length: int = LENGTH) -> Tokenizer:
    """A tokenizer of SentencePiece's kind: the likeliest pieces of a text whose blanks are marked."""
    from tokenizers import models, normalizers, pre_tokenizers, processors

    # Counted and not trained, since training gives other pieces each time.
    words = Counter(f"\u2581{word}" for text in _training() for word in text.split())
    parts = Counter(word[:end] for word in words for end in (4, 6) if len(word) > end)
    characters = Counter(char for word in words for char in unicodedata.normalize("NFKC", word))
    counts = dict(words.most_common(1000)) | dict(parts.most_common(1000)) | {char: count / 50 for char, count in characters.items()}
    scored = [(piece, math.log(count / 1e5)) for piece, count in sorted(counts.items())]
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    made = Tokenizer(models.Unigram([*special, *scored], unk_id=3))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens([token for token, _ in special])
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return _cut(made, length)


def _cut(tokenizer: Tokenizer, length: int) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return tokenizer


def _training() -> list[str]:
    # The hard texts too, so that few characters are unknown: all unknown ones have the same token.
    return [*texts(560), *_real()]


def golden(tokenizer: Tokenizer, given: list[str]) -> list[dict[str, Any]]:
    """Each text with its tokens, as the entry `golden_texts` of a manifest has them."""
    return [{"text": text, "tokens": tokenizer.encode(text).ids} for text in given]
