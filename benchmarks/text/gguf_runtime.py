"""Runs model files token by token: GGUF by llama.cpp's C interface, all others by the kit's adapters."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgedistill.backends import backends
from edgedistill.errors import UserError
from edgedistill.export.programs import load_signature

CACHES = {"f32": 0, "f16": 1}
"""Types of keys and values, as in ggml.h."""


class Running(Protocol):
    """A model with a cache."""

    def forward(self, tokens: np.ndarray, start: int, *, every: bool = False) -> np.ndarray:
        """The logits after int32 [T] tokens at the positions from `start` on: float32 [1, V], or with `every` after each, [T, V]."""


@dataclass(frozen=True)
class File:
    """A file, and how llama.cpp runs it if it is GGUF; cache and flash as `Llama` takes them."""

    name: str
    cache: str = "f32"
    flash: bool | None = None

    def open(self, folder: Path, length: int) -> Running:
        """Load it from `folder` with a cache of `length` positions, on one thread."""
        if self.name.endswith(".gguf"):
            return Llama(folder / self.name, length, cache=self.cache, flash=self.flash)
        return Kit(folder / self.name, folder / "programs/student-float.pt2")


class Kit:
    """A file of the kit on one thread. program: that with its signature."""

    def __init__(self, path: Path, program: Path) -> None:
        kind = next(kind for kind in backends().values() if kind.suffix == path.suffix)
        executor = kind.executor(float16=False)
        assert executor is not None
        adapter = import_module(executor.module)
        adapter.prepare(1)
        self._run = adapter.load(str(path), 1, load_signature(program).forward.model_dump(mode="json"))

    def forward(self, tokens: np.ndarray, start: int, *, every: bool = False) -> np.ndarray:
        """See `Running`."""
        places = np.arange(len(tokens), dtype=np.int32)[None]
        wanted = places if every else places[:, -1:].copy()
        logits: np.ndarray = self._run({"input_ids": tokens[None], "positions": places + np.int32(start), "wanted": wanted})["logits"][0]
        return logits


def greedy(forward: Callable[[np.ndarray, int], np.ndarray], prompt: Sequence[int], count: int) -> list[int]:
    """The `count` most probable tokens, one after the other."""
    logits, written = forward(np.asarray(prompt, dtype=np.int32), 0), list[int]()
    while True:
        written.append(int(logits[-1].argmax()))
        if len(written) == count:
            return written
        logits = forward(np.array(written[-1:], dtype=np.int32), len(prompt) + len(written) - 1)


class Llama:
    """A model on one or more threads of the CPU with a cache of `length` positions.

    cache: the type of keys and values; llama.cpp's own default is f16. flash: attention by one operator; None lets llama.cpp choose.
    """

    def __init__(self, path: Path, length: int, *, threads: int = 1, cache: str = "f32", flash: bool | None = None) -> None:
        import llama_cpp as c

        self._c: Any = c
        self._quiet = c.llama_log_callback(lambda level, text, data: None)
        c.llama_log_set(self._quiet, ctypes.c_void_p(0))
        c.llama_backend_init()
        self._model = c.llama_model_load_from_file(str(path).encode(), c.llama_model_default_params())
        asked = c.llama_context_default_params()
        asked.n_ctx = asked.n_batch = asked.n_ubatch = length
        asked.n_threads = asked.n_threads_batch = threads
        asked.type_k = asked.type_v = CACHES[cache]
        asked.no_perf = True
        if flash is not None:
            asked.flash_attn_type = int(flash)
        self._context = c.llama_init_from_model(self._model, asked) if self._model else None
        if not self._context:
            raise UserError(f"llama.cpp does not load {path}: is it a GGUF file of an architecture that this version knows?")
        self._memory = c.llama_get_memory(self._context)
        self.vocabulary: int = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self._model))
        self._batch = c.llama_batch_init(length, 0, 1)

    def forward(self, tokens: np.ndarray, start: int, *, every: bool = False) -> np.ndarray:
        """The logits after int32 [T] tokens at the positions from `start` on, float32 [1, V]; with `every` after each, [T, V].

        What was kept from `start` on is forgotten. The result is llama.cpp's own memory, which the next call overwrites.
        """
        c, batch, count = self._c, self._batch, len(tokens)
        c.llama_memory_seq_rm(self._memory, 0, start, -1)
        batch.n_tokens = count
        for place, token in enumerate(tokens.tolist()):
            batch.token[place], batch.pos[place] = token, start + place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = every or place == count - 1
        if code := c.llama_decode(self._context, batch):
            raise UserError(f"llama.cpp ended with {code} on {count} tokens from position {start} on; is the context long enough?")
        rows = count if every else 1
        return np.ctypeslib.as_array(c.llama_get_logits(self._context), shape=(rows, self.vocabulary))

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text by llama.cpp's own tokenizer, special ones included."""
        c, content = self._c, text.encode()
        found = (c.llama_token * (len(content) + 8))()
        vocabulary = c.llama_model_get_vocab(self._model)
        count = c.llama_tokenize(vocabulary, content, len(content), found, len(found), False, True)
        return list(found[:count])

    def close(self) -> None:
        """Give the memory back."""
        self._c.llama_batch_free(self._batch)
        self._c.llama_free(self._context)
        self._c.llama_model_free(self._model)
