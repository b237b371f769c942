"""Decoders: the logits of transformers, with and without a cache, as a program, and with weights on a grid."""

from pathlib import Path
from typing import Any

import pytest
import torch
from made_decoders import KINDS, LENGTH, VOCABULARY, decoder, model, tokens
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.export.programs import load_signature, save_program
from edgedistill.quantize import grid
from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.causal_lm import cached
from edgedistill.tasks.causal_lm.decoder import Decoder, check, divide, signature
from edgedistill.tasks.text import models
from edgedistill.tasks.text.recipe import Cut
from edgedistill.verify.rungs import load_converted

COUNT = 20
CLOSE = 2e-5


def saved(module: nn.Module, path: Path, vocabulary: int = VOCABULARY) -> Any:
    """The graph of a deployed module that went through a file."""
    ports = signature(LENGTH, vocabulary, LENGTH, cached.state(module))
    save_program(module, ports, path, sizes=ports.limits)
    return load_converted(path)


def one_by_one(module: Any, count: int, ids: Tensor, positions: Tensor, wanted: Tensor) -> Tensor:
    """The logits of a call with `count` tokens, and then of one token a call."""
    parts = [slice(0, count), *(slice(place, place + 1) for place in range(count, ids.shape[1]))]
    return torch.cat([module(ids[:, part], positions[:, part], wanted[:, : part.stop - part.start]) for part in parts], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_gives_the_logits_of_transformers_with_and_without_a_cache(kind: str) -> None:
    own = decoder(kind)
    check(own, "the student", VOCABULARY, LENGTH)
    ids, positions, wanted = tokens(COUNT)
    own.model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = own.model(input_ids=ids.long()).logits
        own.model.set_attn_implementation("edgedistill")
        assert (own(ids, positions, wanted) - expected).abs().max() < CLOSE
        deployed = cached.deployed(own, LENGTH)
        assert (deployed(ids, positions, wanted) - expected).abs().max() < CLOSE
        # The cache is full of another text.
        deployed(*tokens(LENGTH, seed=1))
        assert (one_by_one(deployed, 5, ids, positions, wanted) - expected).abs().max() < CLOSE
    assert not any(type(layer).__name__ == "Conv1D" for layer in deployed.modules()), "no precision knows its weights"


@pytest.mark.parametrize("kind", KINDS)
def test_some_layers_of_a_decoder_are_a_decoder(kind: str) -> None:
    each = {"no_rope_layers": [1, 0]} if kind == "smollm3" else {}
    whole = model(kind, **each)
    part = models.cut(whole, Cut(layers=[1]))
    assert all(getattr(part.config, name) == [value[1]] for name, value in each.items())
    ours, theirs = part.get_submodule(part.base_model_prefix), whole.get_submodule(whole.base_model_prefix)
    name = "h" if kind == "gpt2" else "layers"
    for key, weight in getattr(ours, name)[0].state_dict().items():
        assert torch.equal(weight, getattr(theirs, name)[1].state_dict()[key])
    check(Decoder(part.eval()), "the student", VOCABULARY, LENGTH)


@pytest.mark.parametrize("tied", [False, True])
def test_logits_are_divided_in_the_head_alone(tied: bool) -> None:
    own = decoder(tie_word_embeddings=tied)
    given = tokens(COUNT)
    embedded = own.model.get_input_embeddings()(given[0].long())
    with torch.no_grad():
        before = own(*given)
        assert divide(own, 2.5)
        assert (own(*given) - before / 2.5).abs().max() < CLOSE
        assert (cached.deployed(own, LENGTH)(*given) - before / 2.5).abs().max() < CLOSE
    assert torch.equal(own.model.get_input_embeddings()(given[0].long()), embedded)


def test_a_row_that_is_filled_up_behind_gives_the_same() -> None:
    own = decoder()
    ids, positions, wanted = tokens(COUNT)
    with torch.no_grad():
        whole = own(ids, positions, wanted)
        padded = own(torch.cat([ids[:, :8], torch.zeros(1, 4, dtype=torch.int32)], 1), positions[:, :12], wanted[:, :8])
    assert (padded - whole[:, :8]).abs().max() < CLOSE


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_each_row_gives_the_logits_of_its_own_wanted_places(kind: str) -> None:
    own = decoder(kind)
    ids, positions, places = (torch.cat(pair) for pair in zip(tokens(COUNT), tokens(COUNT, seed=1), strict=True))
    wanted = torch.tensor([[3, 19, 3], [0, 7, 18]], dtype=torch.int32)
    with torch.no_grad():
        whole, found = own(ids, positions, places), own(ids, positions, wanted)
    expected = torch.stack([row[chosen.long()] for row, chosen in zip(whole, wanted, strict=True)])
    assert found.shape == (2, 3, VOCABULARY)
    assert (found - expected).abs().max() < CLOSE
    # Nothing stays behind at the head: transformers writes by it.
    assert own.model(input_ids=ids.long()).logits.shape[1] == COUNT


def test_a_program_takes_all_lengths_and_gives_the_logits_of_the_module(tmp_path: Path) -> None:
    own = decoder()
    deployed = cached.deployed(own, LENGTH)
    graph = saved(deployed, tmp_path / "p.pt2")
    ids, positions, wanted = tokens(LENGTH)
    with torch.no_grad():
        expected = own(ids, positions, wanted)
        run = torch.fx.Interpreter(graph).run
        assert (run(ids, positions, wanted) - expected).abs().max() < CLOSE
        assert (run(ids, positions, wanted[:, [30, 4]]) - expected[:, [30, 4]]).abs().max() < CLOSE
        assert (one_by_one(run, 7, ids, positions, wanted) - expected).abs().max() < CLOSE
    kept = load_signature(tmp_path / "p.pt2")
    assert kept.limits == {"tokens": LENGTH, "wanted": LENGTH}
    assert kept.state == tuple(TensorSpec(name=f"state_{place}", shape=(1, 2, LENGTH, 16)) for place in range(4))
    program = torch.export.load(tmp_path / "p.pt2")
    assert [int(limits.upper) for limits in program.range_constraints.values()] == [LENGTH, LENGTH]
    assert all(not value.any() for name, value in program.named_buffers() if "state_" in name), "what is saved is zero"


@pytest.mark.parametrize("vocabulary", [300, grid.ROWS + 76])
def test_tied_embeddings_get_a_grid_each(vocabulary: int, tmp_path: Path) -> None:
    own = decoder(tie_word_embeddings=True, vocab_size=vocabulary)
    table = own.model.lm_head.weight.detach().clone()
    graph = saved(cached.deployed(own, LENGTH), tmp_path / "p.pt2", vocabulary)
    grid.put_on_grid(graph, "int4-dynamic")
    (embedding,) = operators(graph, (torch.ops.aten.embedding.default,))
    head = operators(graph, (torch.ops.aten.linear.default,))[-1]
    assert torch.equal(tensor_of(graph, head.args[1]), grid.int4_blocks(table).values)
    expected = grid.int8_channels(table).values if vocabulary > grid.ROWS else table
    assert torch.equal(tensor_of(graph, embedding.args[0]), expected)


def test_dropout_stays_as_it_was() -> None:
    own = decoder("gpt2")
    for trains in (False, True):
        check(own.train() if trains else own, "the student", VOCABULARY, LENGTH)
        assert own.model.training is trains


def test_models_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"knows 300 tokens, and the tokenizer has 301"):
        check(decoder(), "the student", VOCABULARY + 1, LENGTH)
    with pytest.raises(UserError, match=r"takes 48 tokens, and data.length is 49"):
        check(decoder(), "the student", VOCABULARY, LENGTH + 1)
    window = decoder("qwen2", use_sliding_window=True, sliding_window=24, max_window_layers=0)
    with pytest.raises(UserError, match=r"see 24 tokens only"):
        check(window, "the student", VOCABULARY, LENGTH)
    check(window, "the student", VOCABULARY, 24)
    with pytest.raises(UserError, match=r"sees 24 tokens, and a text may have 48"), torch.no_grad():
        cached.deployed(window, LENGTH)(*tokens(4))
    with pytest.raises(UserError, match="softcap"):
        check(decoder("gemma2", sliding_window=LENGTH), "the student", VOCABULARY, LENGTH)


def test_logits_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    own = decoder()
    plain = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional, "scaled_dot_product_attention", lambda *given, **more: plain(*given, **(more | {"is_causal": False}))
    )
    with pytest.raises(UserError, match=r"\(LlamaForCausalLM\) gives other logits"):
        check(own, "the student", VOCABULARY, LENGTH)


def test_rotations_that_change_with_the_length_are_refused() -> None:
    own = decoder(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})
    with pytest.raises(UserError, match="change with the length"):
        cached.deployed(own, LENGTH)


def test_a_limit_bounds_a_dimension_that_varies() -> None:
    from edgedistill.quantize.trace import trace

    sizes = TensorSpec(name="x", shape=(1, "T"))
    for limits, most in (({}, 4096), ({"T": 9}, 9)):
        program = trace(nn.ReLU(), Signature.of([sizes], [sizes.model_copy(update={"name": "y"})], limits=limits), sizes={"T": 8})
        assert [int(found.upper) for found in program.range_constraints.values()] == [most]


def test_the_model_itself_is_not_changed() -> None:
    own = decoder("gpt2")
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    cached.deployed(own, LENGTH)
    after = own.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
