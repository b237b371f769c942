"""Language models in LiteRT: methods of fixed sizes that share weights and a cache, which the adapter calls in pieces."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import interpreter
from made_decoders import LENGTH, decoder

from edgedistill.backends.delegation import delegation
from edgedistill.backends.inspect import inspect
from edgedistill.backends.litert import adapter, adapter_tflite_runtime
from edgedistill.backends.litert.glue.python import litert as glue
from edgedistill.export.lower import lower
from edgedistill.export.programs import load_signature, save_program
from edgedistill.measure.generation import Stateful, read_from, stateful
from edgedistill.quantize.grid import ROWS, put_on_grid
from edgedistill.records import ArtifactSpec, Delegation, Parity
from edgedistill.signature import Signature
from edgedistill.tasks.causal_lm import cached
from edgedistill.tasks.causal_lm.decoder import signature
from edgedistill.tasks.causal_lm.generation import generate
from edgedistill.verify import judge
from edgedistill.verify.dynamic import DynamicReference
from edgedistill.verify.rungs import load_converted

VOCABULARY, LAYERS = ROWS + 76, 1
FP32 = ArtifactSpec("litert", "fp32")
PACKED = [ArtifactSpec("litert", precision) for precision in ("int8-dynamic", "int4-dynamic", "int8-weights")]
TEXTS = (1, 7, 40, LENGTH - 1, 10)
"""Lengths of prompts: in pieces of one size, of several, and of some that overlap; short ones behind long ones."""


def model() -> Any:
    return decoder(vocab_size=VOCABULARY, num_hidden_layers=LAYERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of a small llama, and its file in fp32."""
    folder = tmp_path_factory.mktemp("litert")
    deployed = cached.deployed(model(), LENGTH)
    ports = signature(LENGTH, VOCABULARY, LENGTH, cached.state(deployed))
    save_program(deployed, ports, folder / FP32.program, sizes=ports.limits)
    lowered([FP32], folder)
    return folder


def lowered(specs: list[ArtifactSpec], folder: Path) -> None:
    made = lower(specs, folder, folder, folder / "log", {})
    assert made.error is None, made.error
    assert all(artifact.signature == load_signature(folder / artifact.program) for artifact in made.artifacts)


def texts(seed: int = 0) -> list[np.ndarray]:
    # Token 0 is padding for transformers.
    return [np.random.default_rng(seed + length).integers(1, VOCABULARY, length, np.int32) for length in TEXTS]


def opened(folder: Path, spec: ArtifactSpec) -> Any:
    return adapter.load(str(folder / spec.name), 1, load_signature(folder / spec.program).forward.model_dump(mode="json"))


def answers(forward: Any) -> list[np.ndarray]:
    """Logits of some places of all texts, one text after the other, by an adapter or a program."""
    found = []
    for text in texts():
        places = np.arange(len(text), dtype=np.int32)
        # Not in order, and some of them twice.
        wanted = np.minimum([[0, 1, 2, len(text), 0]], len(text) - 1).astype(np.int32)
        arrays = {"input_ids": text[None], "positions": places[None], "wanted": wanted}
        if isinstance(forward, torch.nn.Module):
            with torch.no_grad():
                found.append(forward(*map(torch.from_numpy, arrays.values())).numpy())
        else:
            found.append(forward(arrays)["logits"])
    return found


def test_texts_of_all_lengths_have_the_logits_of_the_program(folder: Path) -> None:
    for found, expected in zip(answers(opened(folder, FP32)), answers(load_converted(folder / FP32.program)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_file_writes_the_texts_of_transformers(folder: Path) -> None:
    own, forward = model().model, opened(folder, FP32)
    own.set_attn_implementation("eager")
    for prompt in texts(1):
        limit = min(20, LENGTH - len(prompt) + 1)
        expected = own.generate(torch.from_numpy(prompt[None]).long(), max_new_tokens=limit, do_sample=False, pad_token_id=0)
        assert generate(forward, prompt, limit=limit, length=LENGTH).tokens == expected[0, len(prompt) :].tolist()


def test_glue_code_gives_what_the_adapter_gives(folder: Path) -> None:
    forward, kind = glue.load(str(folder / FP32.name), 1, ("input_ids", "positions", "wanted"), ("logits",))
    assert kind == "XNNPACK"
    for ours, theirs in zip(answers(forward), answers(opened(folder, FP32)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_methods_share_their_weights_and_write_the_cache_in_place(folder: Path) -> None:
    path = folder / FP32.name
    content = inspect(path)
    sizes = {port.name: port.shape for port in content.inputs}
    assert (sizes["input_ids"], sizes["positions"], sizes["wanted"]) == ([1, "tokens"], [1, "tokens"], [1, 1])
    assert content.operators["DYNAMIC_UPDATE_SLICE"] == 2 * LAYERS
    assert not {"GATHER_ND", "SCATTER_ND"} & set(content.operators)
    stored = sum(kind.bytes for kind in content.weights.values())
    assert content.bytes < 1.2 * stored, "each method has weights of its own"
    read = delegation("litert", path)
    assert isinstance(read, Delegation)
    assert read.outside["DYNAMIC_UPDATE_SLICE"] == 2 * LAYERS
    assert not {"FULLY_CONNECTED", "BATCH_MATMUL", "SOFTMAX"} & set(read.outside)


def test_a_file_says_how_it_is_called(folder: Path) -> None:
    content = inspect(folder / FP32.name)
    assert isinstance(content.signature, Signature)
    read = read_from(content.signature)
    assert [spec.name for spec in read.state] == [spec.name for spec in load_signature(folder / FP32.program).state]
    told = stateful(read)
    assert isinstance(told, Stateful)
    assert told.context == LENGTH


@pytest.mark.parametrize(
    ("total", "found"),
    [
        (1, [1]), (7, [1] * 7), (8, [8]), (9, [8, 1]), (10, [8, 8]), (40, [32, 8]), (48, [32, 8, 8]), (60, [32, 32]), (127, [32] * 4),
        (192, [128, 32, 32]), (250, [128, 128]),
    ],
)  # fmt: skip
def test_pieces_cover_the_whole_and_end_with_it(total: int, found: list[int]) -> None:
    made = list(adapter.pieces(total, (1, 8, 32, 128)))
    assert [size for _, size in made] == found
    assert made[0][0] == 0
    assert sum(made[-1]) == total
    assert all(start < following <= start + size for (start, size), (following, _) in pairwise(made))


def test_an_input_below_the_smallest_piece_is_refused() -> None:
    with pytest.raises(ValueError, match="found an input of size 3, expected 8 or more"):
        list(adapter.pieces(3, (8, 32)))


def test_tflite_runtime_refuses_a_file_with_a_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", interpreter)
    with pytest.raises(ValueError, match="keeps a state between calls, which tflite-runtime does not pass on; install ai-edge-litert"):
        adapter_tflite_runtime.load(str(folder / FP32.name), 1)


@pytest.mark.slow
def test_files_of_fewer_bits_round_as_their_references_do(folder: Path) -> None:
    ports = load_signature(folder / FP32.program)
    for spec in PACKED:
        graph = load_converted(folder / FP32.program)
        put_on_grid(graph, spec.precision)
        save_program(graph, ports, folder / spec.program, sizes=ports.limits)
    lowered(PACKED, folder)
    bytes_ = [(folder / spec.name).stat().st_size for spec in (FP32, PACKED[0], PACKED[1])]
    assert bytes_[0] > 2.5 * bytes_[1] > 2.5 * bytes_[2]
    for spec in PACKED[:2]:
        graph = load_converted(folder / spec.program)
        found, plain = answers(opened(folder, spec)), answers(graph)
        by_row, by_tensor = (answers(DynamicReference(graph, tensors=tensors)) for tensors in (False, True))
        # A value at the middle between two steps is rounded the other way where float32 sums it in another order, and all tokens behind
        # see it: roundings are equal of the first tokens, and independent in the end. A text of one token says nothing.
        assert of_rounding(found[1:], by_row[1:], plain[1:], slice(0, 3)) < 0.1
        assert of_rounding(found[1:], by_tensor[1:], plain[1:], slice(0, 3)) > 0.5
        assert of_rounding(found, by_row, plain, slice(None)) < 1.2
    spec = PACKED[2]
    for ours, theirs in zip(answers(opened(folder, spec)), answers(load_converted(folder / spec.program)), strict=True):
        parity = judge.verdict(spec, {"logits": ours}, {"logits": theirs})
        assert isinstance(parity, Parity)
        assert parity.ok, parity


def of_rounding(found: list[np.ndarray], expected: list[np.ndarray], plain: list[np.ndarray], places: slice) -> float:
    """RMS difference of `found` from `expected` at some places of each text, over what rounding activations changes there."""
    ours, rounding = (
        np.concatenate([(a - b)[:, places].ravel() for a, b in zip(*pair, strict=True)]) for pair in ((found, expected), (expected, plain))
    )
    return float(np.sqrt((ours**2).mean() / (rounding**2).mean()))
