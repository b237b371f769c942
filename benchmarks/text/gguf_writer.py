"""Writes a llama of transformers with its tokenizer as GGUF, and lets llama.cpp quantize it.

llama.cpp's own converter refuses tokenizers that it does not know, such as those that `tasks.causal_lm.chat` trains.
"""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.errors import UserError

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_Q4_0, _Q8_0, _Q4_K = 2, 8, 12
"""Types of tensors in ggml.h."""
_TURNED = ("attn_q.weight", "attn_k.weight")
"""What rotary embeddings turn."""


@dataclass(frozen=True)
class Quantization:
    """How llama.cpp stores weights. ftype: of llama.h. pure: one type for all layers. table, head: types of ggml.h, or None."""

    ftype: int
    pure: bool
    table: int | None = None
    head: int | None = None


QUANTIZATIONS = {
    "q8_0": Quantization(7, pure=True, table=_Q8_0, head=_Q8_0),
    # The table in 8 bits and the head in 4, as in files of int4-dynamic.
    "q4_0": Quantization(2, pure=True, table=_Q8_0, head=_Q4_0),
    "q4_k": Quantization(14, pure=True, table=_Q8_0, head=_Q4_K),
    # What people take: a mixture of Q4_K and Q6_K, with the head in Q6_K.
    "q4_k_m": Quantization(15, pure=False),
}


def write_gguf(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write `model` in float32 with `tokenizer`, a byte-level BPE that splits texts as GPT-2 does, as the GGUF file `path`.

    Raises UserError where the model or its tokenizer is another one.
    """
    import gguf

    config: Any = model.config
    if config.model_type != "llama" or config.rope_parameters["rope_type"] != "default":
        raise UserError(f"found {config.model_type} with {config.rope_parameters}, expected a llama with plain rotary embeddings")
    width = config.head_dim
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(path.stem)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _add_tokenizer(writer, tokenizer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        own = names.get_name(name, try_suffixes=(".weight",))
        if own is None:
            raise UserError(f"GGUF has no name for the weight '{name}' of the model, expected those of a plain llama")
        array = value.detach().float().cpu().numpy()
        if own.endswith(_TURNED):
            array = _interleaved(array, width)
        writer.add_tensor(own, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source: Path, path: Path, quantization: Quantization) -> None:
    """Let llama.cpp write the float32 file `source` as `path` with quantized weights. Raises UserError where it can't."""
    import llama_cpp

    asked = llama_cpp.llama_model_quantize_default_params()
    asked.nthread, asked.ftype, asked.pure = 1, quantization.ftype, quantization.pure
    if quantization.table is not None:
        asked.token_embedding_type = quantization.table
    if quantization.head is not None:
        asked.output_tensor_type = quantization.head
    said = list[str]()
    listen = llama_cpp.llama_log_callback(lambda level, text, data: said.append(text.decode(errors="replace")))
    llama_cpp.llama_log_set(listen, ctypes.c_void_p(0))
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(path).encode(), asked)
    # llama.cpp must not call a listener that is gone: back to its own, which writes to stderr.
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(), ctypes.c_void_p(0))
    if code:
        raise UserError(f"llama.cpp did not quantize {source} to {path.name}: {''.join(said[-3:]).strip()}")


def types_of(path: Path) -> dict[str, list[str]]:
    """The tensors of a GGUF file by the type that they are stored in."""
    import gguf

    found: dict[str, list[str]] = {}
    for tensor in gguf.GGUFReader(str(path)).tensors:
        found.setdefault(tensor.tensor_type.name, []).append(tensor.name)
    return found


def _interleaved(weight: np.ndarray, width: int) -> np.ndarray:
    """A projection to queries or keys, [heads * width, in], for llama.cpp's rotary embeddings.

    They turn neighbours (2i, 2i + 1) of a head, and those of transformers i and i + width / 2.
    """
    heads = len(weight) // width
    return weight.reshape(heads, 2, width // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def _add_tokenizer(writer: Any, tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> None:
    import gguf

    described = json.loads(tokenizer.backend_tokenizer.to_str())
    splits = described["pre_tokenizer"] or {}
    if described["model"]["type"] != "BPE" or splits.get("type") != "ByteLevel" or splits.get("add_prefix_space"):
        raise UserError(f"found the tokenizer {described['model']['type']} with {splits}, expected byte-level BPE without a space in front")
    tokens = {place: token for token, place in tokenizer.get_vocab().items()}
    special = {added["id"] for added in described["added_tokens"] if added["special"]}
    kinds = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([tokens.get(place, f"[unused {place}]") for place in range(vocabulary)])
    writer.add_token_types(
        [kinds.UNUSED if place not in tokens else kinds.CONTROL if place in special else kinds.NORMAL for place in range(vocabulary)]
    )
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in described["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)
