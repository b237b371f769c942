"""The task causal-lm: the next token of a text. Free of torch; what computes is imported late."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from edgedistill.files import read_json
from edgedistill.recipe.base import Config, mistake
from edgedistill.signature import Signature
from edgedistill.tasks.base import ROUTER_GLUE, Arrays, Glue, Metric, Preprocessing, RecipeParts, Shown, Starter, Taps, Task, Teacher, Words
from edgedistill.tasks.causal_lm.facts import LanguageFacts
from edgedistill.tasks.data import Batch, DataFacts, Dataset, Taught
from edgedistill.tasks.sections import Results, Section, Trial
from edgedistill.tasks.shadowed import Seen, Shadow, Similarity, Wanted
from edgedistill.tasks.text import task as texts
from edgedistill.tasks.text.task import PREPARED

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.recipe.losses import Losses
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.causal_lm.dataset import Completions
    from edgedistill.tasks.causal_lm.recipe import Data
    from edgedistill.tasks.causal_lm.source import Exchanges
    from edgedistill.tasks.intervals import Gaps
    from edgedistill.tasks.model_file import ModelFile
    from edgedistill.tasks.requests import Demands, Requests

_PREPARED = PREPARED | {"prompt", "completion", "messages", "format", "json_schema", "good", "tried"}
_USUAL = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5, "temperature": 1.0}}


class CausalLM(Task):
    """Inputs `input_ids` and `positions`, int32 [B, T], and `wanted`, int32 [B, W]; output `logits`, float32 [B, W, V].

    The target is the token behind each wanted place, -1 where none counts.
    """

    name = "causal-lm"
    title = "Language model"
    metric = Metric(
        "token accuracy", "accuracy", described="The share of an answer's tokens whose likeliest one is right; a mean over answers."
    )
    lowest = 0.0
    words = Words("row", "rows", targets="answers", distance="KL divergence, nats")
    facts = LanguageFacts
    glue = Glue(
        (ROUTER_GLUE, Path(__file__).parent / "glue"),
        {
            "python": (
                "language_model.LanguageModel",
                "replies.Reply",
                "replies.Router",
                "golden_answers.GoldenAnswer",
                "prompts.Message",
            )
        },
        {"python": ("tokenizers>=0.22", "jinja2>=3.1")},
        extra="texts",
        example='model.chat([{"role": "user", "content": "What is the weather?"}]).text',
    )
    writes = True
    right = "exact"

    def parts(self) -> RecipeParts:
        """Tables of prompts and completions, decoders of Hugging Face, endpoints, and the losses of tokens."""
        from edgedistill.tasks.causal_lm.loss_configs import TokenLosses
        from edgedistill.tasks.causal_lm.recipe import Data, Student, Teacher

        stages = [{"name": "finetune", "epochs": 3, "lr": 1.0e-3, "losses": _USUAL}]
        # Static ranges cost language models much, and their files have none.
        defaults = {"stages": stages, "distill": {"calibrate": False}, "quantize": {"after_training": "none"}, "qat": "int4-dynamic"}
        return RecipeParts(Data, Student, Teacher, TokenLosses, defaults, _PREPARED)

    def starter(self) -> Starter:
        """A recipe for a table of prompts and completions."""
        from edgedistill.tasks.causal_lm.starter import EXCHANGES

        return EXCHANGES

    def check(self, recipe: Recipe) -> None:
        """A student that is cut needs a teacher that has weights; one that is not trained has to come trained; no ranges are settled."""
        from edgedistill.tasks.causal_lm.recipe import CutStudent, EndpointTeacher, HubStudent, HubTeacher

        if isinstance(recipe.student, CutStudent) and not isinstance(recipe.teacher, HubTeacher):
            raise mistake("teacher.hf beside student.cut, since a student is cut from a model that is given", "found no teacher.hf")
        if recipe.distill is None and not isinstance(recipe.student, HubStudent):
            raise mistake("student.hf beside distill: null, since nothing is trained", "found another student")
        if recipe.distill is not None and recipe.distill.qat is not None and recipe.distill.qat.precision == "int8":
            raise mistake(
                "precision: int4-dynamic in the stage qat, since files of language models round activations as they come", "found int8"
            )
        uld = _uses(recipe, "uld")
        if uld and not (tells_sorted(recipe) and isinstance(recipe.teacher, HubTeacher) and recipe.teacher.train is None):
            expected = "teacher.hf with train: null, and no other loss that needs the teacher, beside uld: it reads texts in its own tokens"
            raise mistake(expected, "found another recipe")
        data = data_of(recipe)
        if self.asks(recipe) and (uld or not (data.prompt or data.messages)):
            raise mistake("teacher.answers: null beside uld, and beside prompt: null, since there is nothing to ask", "found answers")
        if _uses(recipe, "top_logprobs") and not (isinstance(recipe.teacher, EndpointTeacher) and recipe.teacher.endpoint.top_logprobs):
            raise mistake("teacher.endpoint.top_logprobs beside the loss top_logprobs, which learns from them", "found none")
        for stage in recipe.learning.floating if recipe.distill is not None else []:
            if stage.on_policy and "uld" in stage.losses.used():
                raise mistake("on_policy: 0 beside uld, since drawn answers are in the student's tokens only", f"found {stage.on_policy}")
            judged = stage.on_policy and (data.format != "text" or data.policy or data.scorers)
            if "avoid" in stage.losses.used() and not (data.good or judged):
                expected = "data.good, or on_policy with a format, policy or scorers, which say what to avoid"
                raise mistake(expected, f"found the loss avoid in stage {stage.name} without them")

    def source(self, recipe: Recipe) -> Exchanges:
        """The table."""
        from edgedistill.tasks.causal_lm.source import Exchanges

        other = recipe.teacher.hf if tells_sorted(recipe) else None
        return Exchanges(data_of(recipe), texts.tokenizer_of(recipe), other)

    def dataset(self, recipe: Recipe, folder: Path) -> Completions:
        """The prepared rows."""
        from edgedistill.tasks.causal_lm.dataset import Completions

        facts, tells = LanguageFacts.read(folder), _uses(recipe, "top_logprobs")
        if tells:
            facts.check_told()
        return Completions(folder, facts, data_of(recipe), tells=tells)

    def taught(self, recipe: Recipe, dataset: Dataset) -> Iterator[Taught]:
        """The prompts of the table; of the rows that a teacher answered, which stand beside them, those alone."""
        from edgedistill.tasks.causal_lm import provenance

        file = provenance.file(_completions(dataset).folder)
        return provenance.taught(file, recipe.teacher.answers.checks) if file.exists() else self.source(recipe).taught()

    def forget(self, cache: Path, gone: Callable[[bytes], bool]) -> int:
        """Remove the answers to prompts that are gone."""
        from edgedistill.tasks.causal_lm import provenance

        return provenance.forget(cache, gone)

    def signature(self, recipe: Recipe, facts: DataFacts) -> Signature:
        """Tokens, their positions and wanted places in, a logit for each token of the vocabulary at each wanted place out."""
        from edgedistill.tasks.causal_lm.decoder import signature

        known = facts_of(facts)
        return signature(known.length, known.vocabulary, known.sizes["wanted"])

    def build(self, config: Config, recipe: Recipe, facts: DataFacts, weights: Path | None = None) -> nn.Module:
        """The decoder."""
        from edgedistill.tasks.causal_lm.build import build

        return build(config, recipe, facts_of(facts), weights)

    def deployed(self, module: nn.Module, signature: Signature) -> tuple[nn.Module, Signature]:
        """The decoder with a cache of keys and values, so that each further token is computed alone."""
        from edgedistill.tasks.causal_lm import cached
        from edgedistill.tasks.causal_lm.decoder import Decoder

        assert isinstance(module, Decoder)
        made = cached.deployed(module, signature.limits["tokens"])
        return made, signature.model_copy(update={"state": cached.state(made)})

    def quantizable(self, module: nn.Module) -> nn.Module:
        """The decoder, with plain linear layers."""
        from edgedistill.tasks.causal_lm import cached, decoder

        assert isinstance(module, decoder.Decoder)
        cached.write_linear(module.model)
        return module

    def core(self, module: nn.Module) -> nn.Module:
        """The model as transformers knows it."""
        from edgedistill.tasks.causal_lm.build import merged
        from edgedistill.tasks.causal_lm.decoder import Decoder

        assert isinstance(module, Decoder)
        return merged(module.model)

    def origins(self, recipe: Recipe) -> list[str]:
        """The folder of the model that the student is cut from or starts as."""
        return texts.origins(recipe)

    def named(self, recipe: Recipe) -> list[tuple[str, str]]:
        """Configurations that transformers does not know."""
        return texts.unknown_configurations(recipe)

    def taps(self, module: nn.Module, signature: Signature, signals: Collection[str]) -> Taps:
        """The logits, and `features:LAYER`, what a module of the model gives, both at the wanted places, [B, W, D]."""
        from edgedistill.tasks.causal_lm.taps import WantedTaps

        return WantedTaps(module, signature, signals)

    def tells(self, config: Config, recipe: Recipe) -> bool:
        """Whether a teacher gives logits of the student's tokens: not one that writes texts, nor one with another tokenizer."""
        return super().tells(config, recipe) and not tells_sorted(recipe)

    def teacher(self, config: Config, recipe: Recipe, dataset: Dataset, weights: Path | None, signals: Collection[str]) -> Teacher:
        """A decoder; one with another tokenizer tells `sorted` alone."""
        from edgedistill.tasks.causal_lm.decoder import Decoder
        from edgedistill.tasks.causal_lm.loss_configs import SORTED
        from edgedistill.tasks.causal_lm.other import SortedTeacher

        if set(signals) != {SORTED}:
            return super().teacher(config, recipe, dataset, weights, signals)
        decoder = self.build(config, recipe, dataset.facts, weights)
        assert isinstance(decoder, Decoder)
        return SortedTeacher(decoder)

    def requests(self, config: Any, recipe: Recipe, dataset: Dataset, weights: Path | None) -> Requests:
        """Whole answers of the teacher; of whole texts without prompts the outputs of a call."""
        from edgedistill.tasks.causal_lm import asked

        if not (data_of(recipe).prompt or data_of(recipe).messages):
            return super().requests(config, recipe, dataset, weights)
        decoder = None if config.only_writes else self.build(config, recipe, dataset.facts, weights)
        other = config.hf if tells_sorted(recipe) else None
        return asked.requests(config, self.source(recipe), _completions(dataset), decoder, other)  # type: ignore[arg-type]

    def demands(self, recipe: Recipe, dataset: Dataset) -> Demands:
        """Rows that ask for words that training does not show, the tokens of answers, and how many answers a request takes."""
        from edgedistill.tasks.causal_lm.demands import demands

        return demands(self.source(recipe), _completions(dataset))

    def supervised(self, train: Config | None) -> Losses:
        """Cross-entropy with the tokens of the answers."""
        from edgedistill.tasks.causal_lm.loss_configs import TokenCrossEntropy, TokenLosses

        return TokenLosses(ce=TokenCrossEntropy())

    def asks(self, recipe: Recipe) -> bool:
        """Whether the recipe has `teacher.answers`."""
        return getattr(recipe.teacher, "answers", None) is not None

    def write_answers(
        self, recipe: Recipe, dataset: Dataset, weights: Path | None, name: str, folder: Path, cache: Path
    ) -> dict[str, JsonValue]:
        """Ask the teacher for the answers that the ledger lacks, and write those that are kept as training rows."""
        from dataclasses import asdict

        from edgedistill.tasks.causal_lm import answering

        data = _completions(dataset)
        teacher = None if recipe.teacher.only_writes else self.build(recipe.teacher, recipe, data.facts, weights)
        return asdict(answering.write(recipe, self.source(recipe), data, teacher, name, folder, cache))

    def own_answers(self, module: nn.Module, batch: Batch, dataset: Dataset) -> Batch:
        """Answers that the decoder draws; those that break format, schema, policy or a scorer are to avoid."""
        from edgedistill.tasks.causal_lm.decoder import Decoder
        from edgedistill.tasks.causal_lm.own import own_answers

        assert isinstance(module, Decoder)
        return own_answers(module, batch, _completions(dataset))

    def score(self, outputs: Arrays, targets: Arrays) -> np.ndarray:
        """The share of each answer's tokens whose likeliest one is right, float64 [n]."""
        from edgedistill.tasks.causal_lm.metrics import right

        return right(outputs["logits"], targets["logits"])

    def further(self, outputs: Arrays, targets: Arrays) -> dict[str, float]:
        """The share of whole answers that greedy decoding gives, the perplexity, and the calibration error of tokens."""
        from edgedistill.tasks.causal_lm.metrics import figures

        return figures(outputs["logits"], targets["logits"])

    def gaps(self, outputs: Arrays, targets: Arrays) -> Gaps | None:
        """Each token of an answer is a decision, and the answer is the sample; None where no token counts."""
        from edgedistill.tasks.causal_lm.metrics import gaps

        return gaps(outputs["logits"], targets["logits"])

    def decide(self, outputs: Arrays) -> np.ndarray:
        """The likeliest token at each wanted place, int64 [n, W]: a row flips where one of them changes."""
        return outputs["logits"].argmax(axis=2)

    def confidences(self, outputs: Arrays) -> dict[str, np.ndarray]:
        """The mean, the least and the first probability of the tokens of whole answers."""
        from edgedistill.tasks.causal_lm.confidence import confidences

        return confidences(outputs["logprobs"])

    def sure_and_unsure(self) -> Arrays:
        """Answers of four tokens."""
        from edgedistill.tasks.causal_lm.confidence import sure_and_unsure

        return {"logprobs": sure_and_unsure()}

    def distance(self, outputs: Arrays, expected: Arrays) -> float:
        """The mean Kullback-Leibler divergence KL(expected || outputs) of the next tokens, in nats."""
        from edgedistill.tasks.causal_lm.metrics import divergence

        return divergence(outputs["logits"], expected["logits"])

    def temperature(self, outputs: Arrays, targets: Arrays) -> float:
        """The temperature of the highest likelihood of the answers' tokens."""
        from edgedistill.tasks.causal_lm.metrics import temperature

        return temperature(outputs["logits"], targets["logits"])

    def divide(self, module: nn.Module, temperature: float) -> bool:
        """Divide the head, which then has weights of its own."""
        from edgedistill.tasks.causal_lm.decoder import divide

        return divide(module, temperature)

    def tried(self, recipe: Recipe) -> int:
        """How many prompts are answered."""
        return data_of(recipe).tried

    def try_module(self, module: nn.Module, dataset: Dataset, rows: np.ndarray, folder: Path) -> dict[str, JsonValue]:
        """Answer the prompts of `rows` by greedy decoding."""
        from edgedistill.tasks.causal_lm import trial

        data = _completions(dataset)
        trial.by_module(module, data, rows, folder)
        return trial.figures(data, rows, folder)

    def try_file(self, dataset: Dataset, rows: np.ndarray, folder: Path, execution: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The same by a file, with the seconds that each token takes."""
        from edgedistill.child import ask
        from edgedistill.tasks.causal_lm import trial

        data = _completions(dataset)
        told = trial.job(data, rows, folder, **execution)
        ask(trial.__name__, str(told), failed=f"{execution['path']} wrote no answers", timeout_s=trial.TIMEOUT_S)
        return trial.figures(data, rows, folder)

    def shown(self, recipe: Recipe, dataset: Dataset, folder: Path, sample: int) -> Shown:
        """The prompt with the marks of its chat template, which say who speaks."""
        data = _completions(dataset)
        return Shown(data.text(data.prompt(sample), marks=True))

    def trace(self, row: Mapping[str, JsonValue], folder: Path) -> tuple[JsonValue, JsonValue]:
        """`request` and `response` of the API, or `messages` or `prompt` with `answer`."""
        from edgedistill.tasks.causal_lm.exchanges import trace

        return trace(row)

    def recorded(self, seen: Seen) -> dict[str, JsonValue]:
        """Messages or prompt, and the answer."""
        from edgedistill.tasks.causal_lm.exchanges import recorded, seen_exchange

        return recorded(seen_exchange(seen))

    def comparison(self, file: ModelFile, wanted: Wanted) -> dict[str, JsonValue]:
        """Format, policy and meaning of answers."""
        from edgedistill.tasks.causal_lm.shadow import comparison

        return comparison(file, wanted)

    def shadow(self, file: ModelFile, comparison: Mapping[str, Any], threads: int, similarity: Similarity | None) -> Shadow:
        """Writes answers."""
        from edgedistill.tasks.causal_lm.shadow import LanguageShadow

        return LanguageShadow(file, comparison, threads, similarity)

    def asked(self, prompt: Any) -> Shown:
        """Who says what."""
        from edgedistill.tasks.causal_lm.shadow import shown

        return Shown(shown(prompt))

    def written(self, dataset: Dataset, rows: np.ndarray, folder: Path) -> dict[int, str]:
        """The answers to the prompts of `rows`."""
        from edgedistill.tasks.causal_lm import trial

        data, (answers, _) = _completions(dataset), trial.read(folder)
        return {int(row): data.text(answer) for row, answer in zip(rows, answers, strict=True)}

    def kept(self, trial: Trial) -> dict[str, np.ndarray]:
        """Whether each answer is `exact`, `valid`, of the right `tool` and `arguments`, within the `policy`, and good to each scorer."""
        from edgedistill.files import read_arrays
        from edgedistill.tasks.causal_lm.trial import VERDICTS

        return read_arrays(trial.folder / VERDICTS)

    def written_outputs(self, trial: Trial) -> Arrays:
        """The log-probability of each token, `logprobs` float32 [n, length], and the tokens of `prompts` int [n].

        Empty of rungs, and of runs of older versions.
        """
        from edgedistill.tasks.causal_lm.trial import read

        _, arrays = read(trial.folder)
        return {name: arrays[name] for name in ("logprobs", "prompts")} if "logprobs" in arrays else {}

    def features(self, inputs: Arrays, facts: DataFacts) -> dict[str, np.ndarray]:
        """How many tokens a prompt has, and how many the answer to it."""
        from edgedistill.tasks.causal_lm.confidence import lengths

        return {"tokens": inputs["prompts"].astype(float), "answer_tokens": lengths(inputs["logprobs"]).astype(float)}

    def slices(self, dataset: Dataset, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The fields of the data, and of tool calls `tool`, the one that the data's answer calls."""
        data = _completions(dataset)
        tools = {"tool": data.tools(indices)} if data.config.format == "tool-call" else {}
        return super().slices(dataset, indices) | tools

    def sections(self, results: Results) -> list[Section]:
        """Whole answers, the fidelity of files, and what a token costs."""
        from edgedistill.tasks.causal_lm.sections import sections

        return sections(results)

    def preprocessing(self, recipe: Recipe, facts: DataFacts, signature: Signature, folder: Path) -> Preprocessing:
        """The tokenizer with its chat template before; tokens are chosen behind."""
        from edgedistill.tasks.causal_lm import golden

        prepared = self.preparation(recipe, facts, signature, folder)
        entries = golden.entries(self.dataset(recipe, folder), data_of(recipe).tried, folder)
        return Preprocessing(inputs=prepared.inputs, outputs=prepared.outputs, files=prepared.files, manifest=entries)

    def preparation(self, recipe: Recipe, facts: DataFacts, signature: Signature, folder: Path) -> Preprocessing:
        """The same without golden conversations."""
        from edgedistill.tasks.causal_lm import chat, schema
        from edgedistill.tasks.causal_lm.glue.python.prompts import special_tokens

        known, data, place = facts_of(facts), data_of(recipe), folder / chat.FOLDER
        special: dict[str, JsonValue] = {**special_tokens(read_json(place / chat.FILES[1]))}
        tokens: dict[str, JsonValue] = {
            "kind": "text", "tokenizer": chat.FILES[0], "template": chat.FILES[2] if (place / chat.FILES[2]).exists() else None,
            "special_tokens": special, "length": known.length, "padding": known.padding,
        }  # fmt: skip
        answer: dict[str, JsonValue] = {"kind": "next token", "end": known.end, "format": data.format}
        files = {name: (place / name).read_bytes() for name in chat.FILES if (place / name).exists()}
        if (file := folder / schema.FILE).exists():
            files[schema.FILE] = file.read_bytes()
            answer["schema"] = schema.FILE
        positions: dict[str, JsonValue] = {"kind": "positions", "of": "input_ids", "first": 0}
        # Places among the tokens of a call whose logits are given: an app wants the last one.
        wanted: dict[str, JsonValue] = {"kind": "wanted", "of": "input_ids"}
        inputs = {"input_ids": tokens, "positions": positions, "wanted": wanted}
        return Preprocessing(inputs=inputs, outputs={"logits": answer}, files=files)


def tells_sorted(recipe: Recipe) -> bool:
    """Whether all that losses need of the teacher are its sorted probabilities, so that it may have another tokenizer."""
    from edgedistill.tasks.causal_lm.loss_configs import SORTED

    needs = set() if recipe.distill is None else {need for stage in recipe.distill.stages for need in stage.losses.needs}
    return needs == {SORTED}


def _uses(recipe: Recipe, loss: str) -> bool:
    """Whether a stage has a loss of this name."""
    return recipe.distill is not None and any(loss in stage.losses.used() for stage in recipe.distill.stages)


def _completions(dataset: Dataset) -> Completions:
    from edgedistill.tasks.causal_lm.dataset import Completions

    assert isinstance(dataset, Completions)
    return dataset


def data_of(recipe: Recipe) -> Data:
    """The data part of a recipe of this task."""
    data: Any = recipe.data
    return data  # type: ignore[no-any-return]


def facts_of(facts: DataFacts) -> LanguageFacts:
    """Facts of data of this task."""
    assert isinstance(facts, LanguageFacts)
    return facts


CAUSAL_LM = CausalLM()
