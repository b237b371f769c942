"""The router: its bounds hold, its figures are those of the stored outputs, and glue code follows its table."""

import json
import math
import shutil
import sys
from importlib import import_module
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import edgedistill
from scipy.optimize import minimize
from scipy.special import softmax
from scipy.stats import beta, binom

import edgedistill as api
from edgedistill.errors import UserError
from edgedistill.files import read_arrays
from edgedistill.gate import risk_model, selective
from edgedistill.gate.risk import p_value, upper_bound
from edgedistill.gate.router import Router, made_table
from edgedistill.records.documents import documents
from edgedistill.records.router import RiskModel, RouterDocument, Rule
from edgedistill.records.summary import Summary
from edgedistill.run import Run
from edgedistill.steps.report import recipe_of
from edgedistill.steps.route import route
from edgedistill.tasks.classification.confidence import confidences
from edgedistill.tasks.image_classification.features import features
from edgedistill.tasks.text import task as texts
from edgedistill.tasks.text.task import TokenFacts
from edgedistill.verify.scoring import Scorer

ARTIFACT = "student-int8.onnx"
PRICES = Path(__file__).parent.parent / "examples/cost/prices.yaml"


def test_a_bound_of_right_and_wrong_is_that_of_clopper_and_pearson() -> None:
    losses = np.array([1.0] * 3 + [0.0] * 97)
    assert upper_bound(losses, 0.05) == pytest.approx(beta.ppf(0.95, 4, 97))
    assert p_value(losses, upper_bound(losses, 0.05)) == pytest.approx(0.05)
    assert upper_bound(np.zeros(59), 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert upper_bound(np.zeros(0), 0.05) == 1.0


def test_a_bound_of_shares_is_seldom_below_the_mean() -> None:
    rng = np.random.default_rng(0)
    below = [upper_bound(rng.beta(0.3, 2.7, 60), 0.1) < 0.1 for _ in range(300)]
    assert np.mean(below) <= 0.1
    assert p_value(np.full(10, 0.5), 0.8) == pytest.approx(math.e * binom.cdf(5, 10, 0.8))
    assert upper_bound(rng.beta(0.3, 2.7, 4000), 0.1) < 0.12


def test_the_area_counts_equal_confidences_in_every_order() -> None:
    losses = np.array([0.0, 1.0, 0.0, 1.0])
    assert selective.aurc(np.array([4.0, 3.0, 2.0, 1.0]), losses) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert selective.aurc(np.ones(4), losses) == pytest.approx(0.5)
    curve = selective.curve(np.array([0.9, 0.9, 0.2]), np.array([0.0, 1.0, 1.0]))
    assert curve.coverage.tolist() == pytest.approx([2 / 3, 1])
    assert curve.risk.tolist() == pytest.approx([1 / 2, 2 / 3])


def test_a_rate_sends_the_least_sure() -> None:
    confidence = np.arange(10) / 10
    threshold = selective.threshold_of_rate(confidence, 0.3)
    assert (confidence <= threshold).tolist() == [True] * 3 + [False] * 7
    # Equal ones go together.
    assert (np.ones(10) <= selective.threshold_of_rate(np.ones(10), 0.1)).all()


def test_the_risk_that_is_kept_is_seldom_above_the_limit() -> None:
    """The true risk above a threshold t of a student that is right with the probability c, which is uniform on 0..1, is (1 - t) / 2."""
    rng, limit, above, found = np.random.default_rng(1), 0.2, 0, 0
    for _ in range(400):
        confidence = rng.random(600)
        losses = (rng.random(600) > confidence).astype(float)
        threshold = selective.threshold_of_risk(confidence, losses, limit, 0.1)
        if threshold is not None:
            found += 1
            above += (1 - max(threshold, 0)) / 2 > limit
    assert above / 400 <= 0.1
    assert found > 200


def test_no_threshold_is_better_than_a_wrong_one() -> None:
    losses = np.ones(100)
    assert selective.threshold_of_risk(np.arange(100) / 100, losses, 0.5, 0.05) is None
    assert selective.threshold_of_risk(np.full(100, 0.5), np.zeros(100), 0.1, 0.05) < 0


def test_confidences_are_of_0_to_1() -> None:
    found = confidences(np.array([[0.0, 0.0, 0.0], [1.0, 0.0, -1.0], [90.0, 0.0, 0.0]]))
    shares = softmax([1.0, 0.0, -1.0])
    assert found["probability"].tolist() == pytest.approx([1 / 3, shares[0], 1])
    assert found["margin"].tolist() == pytest.approx([0, shares[0] - shares[1], 1])
    assert found["entropy"].tolist() == pytest.approx([0, 1 + (shares * np.log(shares)).sum() / np.log(3), 1])
    assert confidences(np.zeros((2, 1)))["margin"].tolist() == [1, 1]


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(tiny / "runs/tiny", tmp_path_factory.mktemp("route") / "tiny", symlinks=True)


def test_the_figures_are_those_of_the_stored_outputs(run: Path) -> None:
    found = route(run, rate=0.25, assumptions=PRICES)
    (artifact,) = [artifact for artifact in found.artifacts if artifact.name == ARTIFACT]
    logits = read_arrays(run / f"work/val-{ARTIFACT}/outputs")["logits"]
    confidence = confidences(logits)["probability"]
    sent = confidence <= artifact.threshold
    assert 0.25 <= sent.mean() == artifact.sent.value < 0.3
    assert artifact.score.student == pytest.approx(1 - artifact.errors / len(sent))
    # All that is kept is as the artifact gives it, and all that is sent as the teacher does.
    assert artifact.errors - artifact.caught == round(artifact.risk.value * (~sent).sum())
    scorer = Scorer(Run(run), recipe_of(Summary.read(run / "summary.json")))
    student, teacher = scorer.scores(ARTIFACT), scorer.scores("teacher")
    assert artifact.score.routed == pytest.approx(np.where(sent, teacher, student).mean())
    assert artifact.misses == (teacher & ~student & ~sent).sum()
    assert artifact.risk.bound > artifact.risk.value
    assert artifact.curve[-1].coverage == 1
    assert artifact.curve[-1].risk == pytest.approx(1 - artifact.score.student)
    cost = found.cost
    assert cost.saved.request == pytest.approx(cost.teacher.request - cost.routed.request)
    first = found.artifacts[0]
    assert cost.routed.request == pytest.approx(cost.teacher.request * first.sent.value)
    router = api.Router.load(run, ARTIFACT)
    assert (router.asks_teacher({"logits": logits}) == sent).all()
    assert router.asks_teacher({"logits": np.full((1, 10), np.nan)}).all()


def test_a_decision_may_always_go_to_the_teacher(run: Path) -> None:
    found = route(run, risk=0.2, always=["7"])
    logits = read_arrays(run / f"work/val-{ARTIFACT}/outputs")["logits"]
    router = Router.load(run, ARTIFACT)
    asked = router.asks_teacher({"logits": logits})
    assert asked[logits.argmax(axis=1) == 7].all()
    assert not asked.all()
    assert found.table.always == [7]
    assert all(artifact.risk.bound <= 0.2 for artifact in found.artifacts)


def test_a_risk_that_val_cannot_prove_sends_everything(run: Path) -> None:
    done = edgedistill("route", run, "--risk", 0.0001, "--json", cwd=run)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, documents()["route"].model_json_schema(mode="serialization", by_alias=True))
    assert {artifact["threshold"] for artifact in document["artifacts"]} == {None}
    assert {artifact["sent"]["value"] for artifact in document["artifacts"]} == {1.0}
    assert Router.load(run).asks_teacher({"logits": np.array([[99.0, 0.0]])}).all()
    assert RouterDocument.read(run / "router.json").status == "check_failed"


def test_a_rule_sends_requests_by_what_is_known_of_them(run: Path) -> None:
    images = read_arrays(run / "work/programs/samples")["image"]
    known = features(images)
    most = float(np.quantile(known["red_mean"], 0.8))
    found = route(run, rate=0.1, when=[f"red_mean > {most}", "green_deviation<0"])
    (artifact,) = [artifact for artifact in found.artifacts if artifact.name == ARTIFACT]
    outputs = {"logits": read_arrays(run / f"work/val-{ARTIFACT}/outputs")["logits"]}
    ruled = known["red_mean"] > most
    assert artifact.by_rules == ruled.sum() > 0
    router = Router.load(run, ARTIFACT)
    asked = router.asks_teacher(outputs, known)
    assert asked[ruled].all()
    assert asked.sum() == artifact.sent.count
    # The share of 10% is sent by the rule already, so that nothing else is.
    assert (asked == ruled).all()
    assert router.asks_teacher(outputs, {name: np.full(len(asked), np.nan) for name in known}).all()
    with pytest.raises(UserError, match="reads green_deviation, red_mean of the request, found no such feature"):
        router.asks_teacher(outputs)


def test_features_are_those_of_the_bytes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 5), np.uint8)
    found = features(pixels.astype(np.float32) / np.float32(255))
    assert found["green_mean"].tolist() == pytest.approx((pixels[:, 1].mean(axis=(1, 2)) / 255).tolist(), abs=1e-14)
    assert found["blue_deviation"].tolist() == pytest.approx((pixels[:, 2].std(axis=(1, 2)) / 255).tolist(), abs=1e-14)
    # Where the vocabulary has a token for what it does not know, its share is a feature.
    tokens = {"input_ids": np.array([[5, 1, 1, 9], [5, 0, 0, 0]]), "attention_mask": np.array([[1, 1, 1, 1], [1, 0, 0, 0]])}
    facts = {"source": "", "sha256": "", "splits": {}, "length": 4, "vocabulary": 10, "padding": 0, "tokens": []}
    read = texts.features(tokens, TokenFacts(**facts, unknown=1))
    assert (read["tokens"].tolist(), read["unknown"].tolist()) == ([4, 1], [0.5, 0])
    assert list(texts.features(tokens, TokenFacts(**facts))) == ["tokens"]


def made_answers(rng: np.random.Generator, n: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Measures and features of n answers, and whether each is wrong: by the sureness and by the length of the request."""
    sure, length = rng.beta(8, 1, n), rng.integers(1, 50, n).astype(float)
    risk = 1 / (1 + np.exp(0.9 * np.log(sure / (1 - sure)) - 0.1 * (length - 25)))
    return {"probability": sure}, {"tokens": length, "same": np.ones(n)}, (rng.random(n) < risk).astype(float)


def test_a_model_of_the_risk_is_that_of_the_highest_likelihood() -> None:
    measures, known, wrong = made_answers(np.random.default_rng(0), 4000)
    model = risk_model.fit(measures, known, wrong)
    assert model is not None
    assert set(model.features) == {"tokens"}
    columns = np.stack([risk_model._odds(measures["probability"]), known["tokens"]], axis=1)
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)

    def loss(weights: np.ndarray) -> float:
        risk = weights[0] + scaled @ weights[1:]
        return (np.logaddexp(0, risk) - wrong * risk).sum() + risk_model._RIDGE / 2 * (weights[1:] ** 2).sum()

    best = minimize(loss, np.zeros(3), tol=1e-12).x[1:] / columns.std(axis=0)
    assert [model.measures["probability"], model.features["tokens"]] == pytest.approx(best.tolist(), rel=1e-3)
    assert model.features["tokens"] == pytest.approx(0.1, abs=0.02)
    sure = risk_model.confidence(model, measures, known)
    assert sure.mean() == pytest.approx(1 - wrong.mean(), abs=1e-6)
    crossed = risk_model.cross_fitted(measures, known, wrong)
    assert crossed is not None
    areas = [selective.aurc(values, wrong) for values in (sure, crossed, measures["probability"])]
    assert areas[1] == pytest.approx(areas[0], abs=0.002)
    assert areas[1] < areas[2] - 0.01
    assert risk_model.fit(measures, known, np.zeros(4000)) is None
    # Perfectly parted answers have a model too.
    parted = risk_model.fit({"margin": np.array([0.1, 0.2, 0.8, 0.9])}, {}, np.array([1.0, 1.0, 0.0, 0.0]))
    assert parted is not None
    assert parted.measures["margin"] < 0


def test_the_threshold_of_a_model_is_chosen_on_the_other_half(run: Path) -> None:
    found = route(run, rate=0.3, by="risk")
    (artifact,) = [artifact for artifact in found.artifacts if artifact.name == ARTIFACT]
    outputs = {"logits": read_arrays(run / f"work/val-{ARTIFACT}/outputs")["logits"]}
    known = features(read_arrays(run / "work/programs/samples")["image"])
    other = ~risk_model.half(len(outputs["logits"]))
    assert artifact.n == other.sum()
    router = Router.load(run, ARTIFACT)
    asked = router.asks_teacher(outputs, known)
    assert asked[other].sum() == artifact.sent.count >= 0.3 * artifact.n
    first = found.artifacts[0].name
    wrong = 1.0 - Scorer(Run(run), recipe_of(Summary.read(run / "summary.json"))).scores(first)
    logits = read_arrays(run / f"work/val-{first}/outputs")["logits"][~other]
    expected = risk_model.fit(confidences(logits), {name: values[~other] for name, values in known.items()}, wrong[~other])
    assert router.risk == expected
    assert set(artifact.aurc) == {"probability", "margin", "entropy", "risk"}
    assert artifact.aurc["risk"] == pytest.approx(selective.aurc(router.confidence(outputs, known)[other], wrong_of(run)[other]))


def wrong_of(run: Path) -> np.ndarray:
    return 1.0 - Scorer(Run(run), recipe_of(Summary.read(run / "summary.json"))).scores(ARTIFACT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "expected one of them"),
        ({"rate": 0.1, "risk": 0.1}, "expected one of them"),
        ({"rate": 1.2}, "found rate 1.2"),
        ({"rate": 0.1, "by": "hope"}, "expected one of probability, margin, entropy, risk"),
        (
            {"rate": 0.1, "when": ["red_mean=1"]},
            "found --when 'red_mean=1', expected FEATURE>NUMBER or FEATURE<NUMBER with",
        ),
        ({"rate": 0.1, "when": ["smell>1"]}, "found --when 'smell>1'"),
        ({"rate": 0.1, "when": ["red_mean>1e999"]}, "found --when 'red_mean>1e999'"),
        ({"rate": 0.1, "right": "valid"}, "found --right valid, but models of the task image-classification write no answers"),
        ({"rate": 0.1, "always": ["cat"]}, "found no decision cat, expected one of 0, 1"),
    ],
)
def test_wrong_options_are_told(run: Path, options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        route(run, **options)


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    route(run, rate=0.25, by="risk", always=["1"], when=["red_mean>0.6"])
    return Path(api.bundle(run, ["raspberry-pi"], tmp_path_factory.mktemp("bundles")).bundles["raspberry-pi"])


def test_glue_code_in_python_follows_the_table(run: Path, bundle: Path) -> None:
    sys.path.insert(0, str(bundle / "python"))
    sys.modules.pop("tiny_model", None)
    try:
        glue = import_module("tiny_model")
        with glue.Model.load(bundle, artifact=ARTIFACT) as model:
            assert model.self_test().ok
            router = Router.load(bundle, ARTIFACT)
            logits = np.random.default_rng(0).normal(0, 3, (200, 10))
            images = read_arrays(run / "work/programs/samples")["image"][:200]
            pixels = np.rint(255 * images.transpose(0, 2, 3, 1)).astype(np.uint8)
            # The rule holds for these.
            pixels[::4] = 255 - pixels[::4] // 4
            known = features(pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
            assert model.predict(pixels[0]).features == pytest.approx({name: values[0] for name, values in known.items()}, abs=1e-14)
            probabilities = import_module("tiny_model.scores").probabilities
            own = [{name: values[row] for name, values in known.items()} for row in range(200)]
            predictions = [glue.Prediction(model.labels, probabilities(row), features) for row, features in zip(logits, own, strict=True)]
            asked = [model.router.asks_teacher(prediction) for prediction in predictions]
            assert asked == router.asks_teacher({"logits": logits}, known).tolist()
            assert 50 <= (known["red_mean"] > 0.6).sum() < sum(asked) < 200
            trace = model.router.trace(predictions[7])
            sure = router.confidence({"logits": logits}, known)[7]
            assert trace == {"confidence": pytest.approx(sure, abs=1e-12), "decision": logits[7].argmax(), "features": own[7]}
            json.dumps(trace | {"features": dict(model.predict(pixels[0]).features)})
            model.router._table["golden"][3]["teacher"] ^= True
            found = model.self_test()
            assert not found.ok
            assert "router: FAILED: 1 row(s)" in found.describe()
    finally:
        sys.path.remove(str(bundle / "python"))
        for name in [name for name in sys.modules if name.partition(".")[0] == "tiny_model"]:
            del sys.modules[name]


def test_a_rule_holds_above_or_below_its_number_alone() -> None:
    router = Router("text-classification", "margin", None, (), (Rule(of="tokens", above=100), Rule(of="tokens", below=3)))
    tokens = np.array([2, 3, 100, 101, np.nan])
    assert router.ruled_by({"tokens": tokens}, 5).tolist() == [True, False, False, True, True]


def test_golden_rows_lie_on_both_sides() -> None:
    risk = RiskModel(intercept=-1.0, measures={"margin": -0.5}, features={"tokens": 0.01})
    for by in ("probability", "margin", "entropy", "risk"):
        when = (Rule(of="tokens", above=100), Rule(of="unknown", below=0.0))
        table = made_table(Router("text-classification", by, None, (), when, risk if by == "risk" else None), {"a": 0.5})
        ruled = [row.features["tokens"] > 100 or row.features["unknown"] < 0 for row in table.golden]
        assert all(row.teacher for row, sent in zip(table.golden, ruled, strict=True) if sent)
        assert {row.teacher for row, sent in zip(table.golden, ruled, strict=True) if not sent} == {True, False}
        assert {100.0, 101.0} < {row.features["tokens"] for row in table.golden}
        assert {row.teacher for row in table.golden} == {True, False}
        assert min(abs(row.confidence - table.golden_threshold) for row in table.golden) > 1e-3


def test_a_router_of_other_files_is_left_out(run: Path, bundle: Path, tmp_path: Path) -> None:
    assert json.loads((bundle / "manifest.json").read_text())["router"]["by"] == "risk"
    document = json.loads((run / "router.json").read_text())
    for artifact in document["artifacts"]:
        artifact["sha256"] = "0" * 64
    (run / "router.json").write_text(json.dumps(document))
    written = api.bundle(run, ["raspberry-pi"], tmp_path).bundles["raspberry-pi"]
    assert "router" not in json.loads((Path(written) / "manifest.json").read_text())
    with pytest.raises(UserError, match="has no router"):
        Router.load(written)
