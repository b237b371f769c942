"""Sentence embeddings: a tiny encoder teaches smaller ones, which are lowered, judged and bundled."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import edgedistill
from torch.nn import functional as F

from edgedistill.distill.criterion import Criterion
from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import load_recipe
from edgedistill.records.manifest import Manifest
from edgedistill.tasks import task
from edgedistill.tasks.data import Batch
from edgedistill.tasks.embedding.build import build
from edgedistill.tasks.embedding.metrics import cosines, ranks
from edgedistill.tasks.embedding.pooling import Pooling, pooling_of
from edgedistill.tasks.embedding.recipe import EmbeddingLosses, HubEmbedder, Teacher
from edgedistill.tasks.embedding.taps import layer_of
from edgedistill.tasks.embedding.task import EmbeddingFacts, bits_of
from edgedistill.tasks.text.dataset import seen_in_train

os.environ["HF_HUB_OFFLINE"] = "1"

WORDS = ["red", "green", "blue", "small", "large", "old", "new", "fast", "slow", "warm", "cold", "stone", "river", "tree", "bird", "fish"]
LENGTH = 10
RECIPE = """
name: taught
task: embedding
threads: 1
data: {source: {jsonl: texts.jsonl}, length: 10, split: {val: 0.2, holdout: 0.1}, batch_size: 16}
teacher: {hf: teacher}
student: {cut: {layers: 1, token_width: 8, vocabulary: train, unseen_width: 3}}
distill:
  stages:
    - {name: align, epochs: 6, lr: 3.0e-3, losses: {cosine: {}, contrastive: {weight: 0.1}, minilm: {heads: 4, weight: 0.1}}}
targets: [one.yaml]
measure: {warmup_s: 0.0, max_s: 0.1, min_samples: 20}
"""
TARGET = """name: one
description: Both formats.
minimum_os: none
artifacts: [{format: onnx, precision: int8-dynamic}, {format: executorch, precision: fp32}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, a teacher of two layers as sentence-transformers writes it, and a recipe."""
    from transformers import BertConfig, BertModel

    from edgedistill.tasks.text import tokenizing
    from edgedistill.tasks.text.recipe import TrainedTokenizer

    folder, random = tmp_path_factory.mktemp("embedding"), np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(160)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = tokenizing.trained(TrainedTokenizer(vocabulary=96), lambda: texts, LENGTH)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 16}
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), initializer_range=0.3, **sizes)
    BertModel(config).save_pretrained(folder / "teacher")
    tokenizer.save(str(folder / "teacher" / "tokenizer.json"))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    _modules(folder / "teacher", modules, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    (folder / "taught.yaml").write_text(RECIPE)
    (folder / "one.yaml").write_text(TARGET)
    return folder


def _modules(folder: Path, modules: list[tuple[str, str]], pooling: dict[str, object]) -> None:
    listed = [{"idx": n, "path": path, "type": f"sentence_transformers.models.{kind}"} for n, (path, kind) in enumerate(modules)]
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def _recipe(folder: Path, monkeypatch: pytest.MonkeyPatch, **parts: object):
    monkeypatch.chdir(folder)
    return load_recipe({**yaml.safe_load(RECIPE), **parts}).recipe


def _facts(seen: np.ndarray | None = None, **values: int) -> EmbeddingFacts:
    known = {"length": LENGTH, "vocabulary": 60, "padding": 0, **values}
    used = bits_of(np.ones(known["vocabulary"], bool) if seen is None else seen)
    return EmbeddingFacts(source="", sha256="", splits={}, tokens=[], used=used, **known)


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(5, 30, (6, LENGTH), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(LENGTH)[None] < torch.tensor([10, 4, 7, 2, 9, 5])[:, None]).int()
    return (tokens * mask).int(), mask


def test_a_student_cut_from_its_teacher_is_taught_lowered_judged_and_bundled(folder: Path) -> None:
    done = edgedistill("run", "taught.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    scores = {row["rung"]: row["score"]["val"]["value"] for row in summary["ladder"]}
    assert scores["teacher"] == pytest.approx(1)
    first, *_, last = summary["curves"]["student"]
    assert last["val_cosine"] > first["val_cosine"] + 0.02
    assert set(first["losses"]) == {"cosine", "contrastive", "minilm"}
    assert last["losses"]["minilm"] < first["losses"]["minilm"]
    further = {row["rung"]: row["further"] for row in summary["ladder"]}
    assert further["teacher"] == {"spearman": pytest.approx(1), "recall_at_1": 1.0, "recall_at_10": 1.0}
    assert further["student"]["spearman"] < 1
    rows = {row["name"]: row for row in summary["artifacts"]}
    assert {row["executed_by"] for row in rows.values()} == {"own_runtime"}
    assert all(row["ok"] for row in rows.values())
    for name in ("student-fp32.pte",):
        assert rows[name]["score"]["val"]["value"] == pytest.approx(scores["student"], abs=1e-5)
        assert rows[name]["score"]["holdout"]["value"] > 0.5
    run = folder / "runs" / "taught"
    given = np.load(run / "work" / "val-student-fp32.pte" / "outputs" / "embedding.npy")
    assert given.shape == (32, 32)
    assert np.linalg.norm(given, axis=1) == pytest.approx(1, abs=1e-5)
    manifest = Manifest.read(Path(folder, summary["bundles"]["one"], "manifest.json"))
    (spec,) = manifest.signature.outputs
    assert (spec.name, spec.dtype, spec.shape, spec.meaning) == ("embedding", "float32", (1, 32), "embedding")
    assert manifest.preprocessing.outputs["embedding"] == {"kind": "embedding", "similarity": "cosine", "normalized": True}
    assert manifest.preprocessing.inputs["input_ids"]["length"] == LENGTH


def test_the_embedding_is_what_transformers_computes_pooled_as_the_folder_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModel

    tokens, mask = _batch()
    plain = AutoModel.from_pretrained(folder / "teacher").eval()
    with torch.no_grad():
        hidden = plain(input_ids=tokens.long(), attention_mask=mask.long()).last_hidden_state
    means = torch.stack([row[: int(count)].mean(dim=0) for row, count in zip(hidden, mask.sum(dim=1), strict=True)])
    expected = {"mean": means, "cls": hidden[:, 0]}
    for parts, pooled in (({}, "mean"), ({"pooling": "cls"}, "cls"), ({"pooling": "cls", "normalize": False}, "cls")):
        recipe = _recipe(folder, monkeypatch, teacher={"hf": "teacher", **parts})
        module = build(recipe.teacher, recipe, _facts(), None)
        wanted = expected[pooled] if parts.get("normalize") is False else F.normalize(expected[pooled], dim=1)
        with torch.no_grad():
            given = module(tokens, mask)
        assert torch.allclose(given, wanted, atol=1e-5)
        assert "pooler" not in " ".join(dict(module.named_parameters()))


def test_a_student_of_another_width_is_projected_and_saved_with_its_projection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = {"config": {"model_type": "distilbert", "dim": 16, "hidden_dim": 24, "n_layers": 1, "n_heads": 2}}
    recipe = _recipe(folder, monkeypatch, student=narrow, distill={"stages": [{"name": "align", "losses": {"cosine": {}}}]})
    own = task("embedding")
    module = own.build(recipe.student, recipe, _facts())
    assert module.projection.weight.shape == (32, 16)
    assert own.core(module) is module
    with torch.no_grad():
        assert module(*_batch()).shape == (6, 32)
    wide = _recipe(folder, monkeypatch, student={"cut": {"layers": [1]}})
    module = own.build(wide.student, wide, _facts())
    assert module.projection is None
    assert own.core(module) is module.model
    asked = _recipe(folder, monkeypatch, student={"cut": {"layers": [1]}, "projection": True})
    assert own.build(asked.student, asked, _facts()).projection.weight.shape == (32, 32)


def test_a_narrow_table_of_tokens_is_that_of_the_teacher_but_for_its_smallest_components(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(folder, monkeypatch, student={"cut": {"layers": 1, "token_width": 8}})
    teacher = build(recipe.teacher, recipe, _facts(), None).model.get_input_embeddings().weight.detach()
    narrow = build(recipe.student, recipe, _facts(), None).model.get_input_embeddings()
    with torch.no_grad():
        given = narrow(torch.arange(len(teacher)))
    smaller = torch.linalg.svdvals((teacher - teacher.mean(dim=0)).double())[8:]
    assert float((given - teacher).square().sum()) == pytest.approx(float(smaller.square().sum()), rel=1e-4)
    recipe = _recipe(folder, monkeypatch, student={"cut": {"layers": 1, "token_width": 32}})
    with pytest.raises(UserError, match="found 32, expected less than 32, the width of the teacher's table"):
        build(recipe.student, recipe, _facts(), None)


def test_a_table_of_the_tokens_of_train_has_one_more_row_for_all_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _recipe(folder, monkeypatch, student={"cut": {"layers": 1, "vocabulary": "train"}})
    own = task("embedding")
    old = build(recipe.teacher, recipe, _facts(), None).model.get_input_embeddings().weight.detach()
    seen = np.isin(np.arange(len(old)), [0, 3, 4, 17])
    module = build(recipe.student, recipe, _facts(seen, vocabulary=len(old)), None)
    table = module.model.get_input_embeddings()
    assert table.table.weight.shape == (5, 32)
    with torch.no_grad():
        given = table(torch.arange(len(old)))
    assert torch.allclose(given[seen], old[seen])
    assert torch.allclose(given[~seen], old.mean(dim=0).expand(len(old) - 4, 32), atol=1e-6)
    source = own.source(recipe)
    facts = source.prepare(folder / "prepared", 0)
    data = own.dataset(recipe, folder / "prepared")
    trained = np.unique(data.inputs(data.indices["train"])["input_ids"])
    assert np.flatnonzero(facts.seen()).tolist() == trained.tolist()
    assert EmbeddingFacts.read(folder / "prepared") == facts
    split = np.ones(160, np.int8)
    split[7] = 0
    seen = seen_in_train(folder / "prepared", split, facts.vocabulary)
    assert np.flatnonzero(seen).tolist() == np.unique(data.inputs(np.array([7]))["input_ids"]).tolist()


def test_tokens_that_train_lacks_keep_the_largest_components(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = {"layers": 1, "token_width": 8, "vocabulary": "train", "unseen_width": 3}
    recipe = _recipe(folder, monkeypatch, student={"cut": cut})
    old = build(recipe.teacher, recipe, _facts(), None).model.get_input_embeddings().weight.detach().double()
    seen = np.arange(len(old)) % 2 == 0
    table = build(recipe.student, recipe, _facts(seen, vocabulary=len(old)), None).model.get_input_embeddings()
    with torch.no_grad():
        given = table(torch.arange(len(old))).double()
    rows = torch.cat([old.mean(dim=0, keepdim=True), old[seen]])
    mean = rows.mean(dim=0)
    directions = torch.linalg.svd(rows - mean, full_matrices=False)[2]
    for kept, count in ((seen, 8), (~seen, 3)):
        basis = directions[:count]
        expected = mean + (old[kept] - mean) @ basis.T @ basis
        if count == 3:
            # The shared row is the mean of the whole table, in the components that only tokens of train have.
            expected = expected + (rows[0] - mean) @ directions[3:8].T @ directions[3:8]
        assert torch.allclose(given[kept], expected, atol=1e-5)
    for wrong, said in (
        ({"vocabulary": "all"}, "vocabulary: train beside unseen_width"),
        ({"unseen_width": 8}, "token_width above unseen_width"),
    ):
        with pytest.raises(RecipeError, match=said):
            _recipe(folder, monkeypatch, student={"cut": {**cut, **wrong}})


@pytest.mark.parametrize(("kind", "first"), [("bert", 0), ("roberta", 2)])
def test_a_cut_student_has_no_positions_that_texts_do_not_reach(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, first: int
) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 60, "max_position_embeddings": 40}
    from transformers import CONFIG_MAPPING, AutoModel

    AutoModel.from_config(CONFIG_MAPPING[kind](intermediate_size=24, pad_token_id=first and 1, **sizes)).save_pretrained(tmp_path)
    recipe = _recipe(folder, monkeypatch, teacher={"hf": str(tmp_path)}, student={"cut": {"layers": 2}})
    teacher, student = (build(config, recipe, _facts(), None) for config in (recipe.teacher, recipe.student))
    assert student.model.embeddings.position_embeddings.weight.shape == (first + LENGTH, 16)
    with torch.no_grad():
        assert torch.equal(student(*_batch()), teacher(*_batch()))


def test_pooling_is_read_from_the_files_of_the_model(tmp_path: Path) -> None:
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    folder = str(tmp_path)
    config = Teacher(hf=folder)
    assert pooling_of(config, folder, "teacher") == Pooling("mean", True), "nothing is said"
    _modules(tmp_path, modules[:2], {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    assert pooling_of(config, folder, "teacher") == Pooling("cls", False)
    assert pooling_of(HubEmbedder(hf=folder, pooling="mean"), folder, "student") == Pooling("mean", False)
    _modules(tmp_path, modules, {"pooling_mode_max_tokens": True})
    with pytest.raises(UserError, match=r"asks for max_tokens in 1_Pooling/config.json, expected mean_tokens or cls_token"):
        pooling_of(config, folder, "teacher")
    _modules(tmp_path, [*modules, ("3_Dense", "Dense")], {})
    with pytest.raises(UserError, match=r"has the module Dense in modules.json"):
        pooling_of(config, folder, "teacher")
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(UserError, match=r"teacher.hf: modules.json of .* is not readable"):
        pooling_of(config, folder, "teacher")


def _loss(name: str, student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor], **options: object) -> float:
    used = EmbeddingLosses.model_validate({name: options})
    criterion = Criterion([used], student, teacher, 100)
    return float(criterion(used, student, Batch({}), teacher)[0])


def _softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max())
    return e / e.sum()


def test_losses_of_embeddings_follow_their_formulas() -> None:
    random = np.random.default_rng(0)
    s, t = random.normal(size=(2, 5, 7))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (s, t)]
    student, teacher = ({"embedding": torch.tensor(x)} for x in (s, t))
    assert _loss("cosine", student, teacher) == pytest.approx(np.mean([1 - a @ b for a, b in zip(*unit, strict=True)]))
    assert _loss("mse", student, teacher) == pytest.approx(((s - t) ** 2).mean() / t.var())
    total = 0.0
    for i in range(5):
        others = [j for j in range(5) if j != i]
        q, p = (_softmax(np.array([x[i] @ x[j] for j in others]) / 0.2) for x in unit)
        total += (p * np.log(p / q)).sum() / 5
    assert _loss("contrastive", student, teacher, temperature=0.2) == pytest.approx(total)
    rotation = np.linalg.qr(random.normal(size=(7, 7)))[0]
    rotated = {"embedding": torch.tensor(t @ rotation)}
    for name in ("contrastive", "rkd"):
        assert _loss(name, rotated, teacher) == pytest.approx(0, abs=1e-6), "relations, whatever the space"
    assert _loss("rkd", student, teacher) > 0.1


@pytest.mark.parametrize("relations", [["qk", "vv"], ["qq", "kk", "vv"]])
def test_relations_of_attention_follow_their_formula(relations: list[str]) -> None:
    random, heads, counts = np.random.default_rng(0), 2, [4, 2, 3]
    student = {name: random.normal(size=(3, 4, 6)) for name in ("queries:last", "keys:last", "values:last")}
    teacher = {name: random.normal(size=(3, 4, 8)) for name in ("queries:1", "keys:1", "values:1")}
    places = {"q": "queries", "k": "keys", "v": "values"}
    total = 0.0
    for first, second in relations:
        for sample, count in enumerate(counts):
            for head in range(heads):
                for token in range(count):
                    distributions = []
                    for signals, place in ((student, "last"), (teacher, "1")):
                        x, y = (signals[f"{places[letter]}:{place}"][sample] for letter in (first, second))
                        d = x.shape[1] // heads
                        part = slice(head * d, (head + 1) * d)
                        distributions.append(_softmax(np.array([x[token, part] @ y[j, part] for j in range(count)]) / np.sqrt(d)))
                    q, p = distributions
                    total += (p * np.log(p / q)).sum() / (count * heads * len(counts))
    mask = np.arange(4)[None] < np.array(counts)[:, None]
    signals = [{name: torch.tensor(values) for name, values in own.items()} for own in (student, teacher)]
    signals[0] |= {"mask": torch.tensor(mask.astype(np.int32)), "embedding": torch.zeros(3, 2, dtype=torch.float64)}
    assert _loss("minilm", *signals, heads=heads, relations=relations, teacher_layer=1) == pytest.approx(total)
    with pytest.raises(UserError, match=r"minilm.heads: found 4, expected a divisor of 6, the width of the student's attention"):
        _loss("minilm", *signals, heads=4, teacher_layer=1)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
        {"model_type": "roberta", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
        {"model_type": "electra", "hidden_size": 16, "embedding_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2},
        {"model_type": "distilbert", "dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2},
    ],
)
def test_taps_give_what_attention_multiplies(folder: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, object]) -> None:
    recipe = _recipe(folder, monkeypatch, student={"config": config}, distill={"stages": [{"name": "align", "losses": {"cosine": {}}}]})
    own = task("embedding")
    module = own.build(recipe.student, recipe, _facts())
    signature = own.signature(recipe, _facts())
    tokens, mask = _batch()
    outputs = [layer for name, layer in module.model.named_modules() if name.endswith(("attention.output.dense", "out_lin"))]
    contexts: list[torch.Tensor] = []
    handle = outputs[-1].register_forward_pre_hook(lambda _, inputs: contexts.append(inputs[0]))
    taps = own.taps(module, signature, {"embedding", "queries:0", "keys:0", "values:last", "mask"})
    with torch.no_grad():
        given = taps({"input_ids": tokens, "attention_mask": mask})
        attentions = module.model(input_ids=tokens.long(), attention_mask=mask.long(), output_attentions=True).attentions
    taps.remove()
    handle.remove()
    assert set(given) == {"embedding", "queries:0", "keys:0", "values:last", "mask"}
    heads = [given[name].reshape(6, LENGTH, 2, 8).transpose(1, 2) for name in ("queries:0", "keys:0")]
    scores = (heads[0] @ heads[1].transpose(2, 3) / 8**0.5).masked_fill(mask[:, None, None] == 0, -1e9)
    texts = mask[:, None, :, None] > 0
    # RoBERTa numbers the positions of what fills up a text in another way, which no text sees.
    assert torch.allclose(scores.softmax(dim=3) * texts, attentions[0] * texts, atol=1e-5)
    values = given["values:last"].reshape(6, LENGTH, 2, 8).transpose(1, 2)
    context = (attentions[1] @ values).transpose(1, 2).reshape(6, LENGTH, 16)
    assert torch.allclose(context * mask[:, :, None], contexts[1] * mask[:, :, None], atol=1e-5)
    assert not layer_of(module.model, "queries:0")._forward_hooks
    with pytest.raises(UserError, match="has no layer 2, expected a number from 0 to 1"):
        own.taps(module, signature, {"queries:2"})


def test_scores_are_ranks_of_similarities_and_of_neighbours() -> None:
    random = np.random.default_rng(0)
    theirs = random.normal(size=(40, 6))
    ours = theirs + random.normal(0, 0.7, (40, 6))
    assert cosines(2 * theirs, theirs) == pytest.approx(1)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (ours, theirs)]
    similar = [x @ x.T for x in unit]
    order = [np.argsort(np.argsort([row[i, j] for i in range(40) for j in range(i)])) for row in similar]
    result = ranks(ours, theirs)
    assert result["spearman"] == pytest.approx(np.corrcoef(*order)[0, 1])
    for k in (1, 10):
        hits = 0
        for i in range(40):
            near = [sorted((j for j in range(40) if j != i), key=lambda j, i=i, s=s: -s[i, j]) for s in similar]
            hits += near[1][0] in near[0][:k]
        assert result[f"recall_at_{k}"] == hits / 40
    assert ranks(theirs, theirs) == {"spearman": pytest.approx(1), "recall_at_1": 1.0, "recall_at_10": 1.0}
    assert ranks(ours[:2], theirs[:2]) == {}


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"distill": {"control": True}}, "control: false, since texts have no targets here"),
        ({"distill": {"calibrate": True}}, "calibrate: false, since texts have no targets here"),
        ({"distill": None, "teacher": None}, "student.hf beside distill: null"),
        ({"distill": {"stages": [{"name": "align", "losses": {"minilm": {"relations": ["qv"]}}}]}}, "qk"),
        ({"student": {"cut": {"layers": 1}, "hf": "x"}}, "one of hf, config and cut"),
        (
            {"distill": {"stages": [{"name": "align"}, {"name": "qat", "losses": {"minilm": {}}}]}},
            "losses of outputs, since a quantized program gives nothing else",
        ),
    ],
)
def test_recipes_that_fit_no_task_without_targets_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, parts: dict[str, object], error: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        _recipe(folder, monkeypatch, **parts)
    assert error in str(caught.value)


@pytest.mark.slow
def test_a_model_that_does_not_fit_the_texts_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _recipe(folder, monkeypatch)
    with pytest.raises(UserError, match=r"takes 16 tokens, and data.length is 64"):
        build(recipe.teacher, recipe, _facts(length=64), None)
    with pytest.raises(UserError, match="and the tokenizer has 5,000"):
        build(recipe.teacher, recipe, _facts(vocabulary=5000), None)
    gone = _recipe(folder, monkeypatch, teacher={"hf": "texts"})
    with pytest.raises(UserError, match=r"teacher.hf: 'texts' is no model of texts"):
        task("embedding").signature(gone, _facts())
