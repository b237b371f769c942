"""The shadow phase of tasks whose answer is one call: recorded images, texts and arrays, and what their teachers answered."""

import base64
import json
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glue_text_bundle import LABELS, TextBundle
from glue_texts import wordpiece
from PIL import Image
from scipy.special import log_softmax, rel_entr, softmax

from edgedistill.errors import UserError
from edgedistill.gate.review.rubric import OVERALL
from edgedistill.gate.review.store import Judgement, Store
from edgedistill.steps.model_files import found
from edgedistill.steps.review import review
from edgedistill.steps.shadow import Rules, Shadowing, replay, serve
from edgedistill.tasks import task
from edgedistill.tasks.classification.agreement import divergence
from edgedistill.tasks.image_classification.answering import resize_of
from edgedistill.tasks.image_classification.preprocessing import preprocessing
from edgedistill.tasks.image_classification.recipe.data import Data, Resize
from edgedistill.tasks.model_file import ModelFile

TEXTS = ["What is the weather?", "word", "one two three", "word " * 200, ""]
Ask = Callable[[dict[str, Any]], dict[str, Any]]


def asker(source: Path, folder: Path = Path(), least: float = 0.9) -> Ask:
    """What the student of `source` answers to a line of traces in `folder`, in this process."""
    with found(source) as file:
        own = task(file.task)
        student = own.shadow(file, {"least": least}, 1, None)

    def ask(row: dict[str, Any]) -> dict[str, Any]:
        request, answer = own.trace(row, folder)
        response = base64.b64encode(json.dumps(answer).encode()).decode()
        return student({"request": json.dumps(request), "response": response, "type": "", "encoding": ""})

    return ask


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> TextBundle:
    return TextBundle(tmp_path_factory.mktemp("texts") / "made", "text-classification", wordpiece(), buckets=(8, 32, 128), each=True)


def test_decisions_on_texts_are_compared_by_files_of_all_sizes(classifier: TextBundle) -> None:
    ask = asker(classifier.folder)
    for text in TEXTS:
        logits = classifier.answer(text).astype(float)
        right, other = (LABELS[int(place)] for place in np.argsort(-logits)[:2])
        seen = ask({"text": text, "label": right})["compared"]
        assert (seen["agrees"], seen["student"], seen["prompt"], seen["divergence"]) == (True, right, {"text": text}, None)
        assert seen["student_ms"] > 0
        assert ask({"text": text, "label": other})["compared"]["why"] == "decision"
        assert ask({"text": text, "label": "sports"})["compared"]["why"] == "unknown decision"
        # The decision of scores is the largest, and their divergence that of the formula.
        teacher = softmax(logits + np.array([0.3, -0.2, 0.1]))
        seen = ask({"text": text, "scores": dict(zip(LABELS, teacher.tolist(), strict=True))})["compared"]
        assert seen["teacher"] == LABELS[int(teacher.argmax())]
        assert seen["divergence"] == pytest.approx(rel_entr(teacher, softmax(logits)).sum(), rel=1e-3)


def test_a_divergence_of_few_scores_is_that_of_the_rest_as_one() -> None:
    logs = dict(zip("abc", log_softmax([1.0, 0.0, -1.0]).tolist(), strict=True))
    q = softmax([1.0, 0.0, -1.0])
    p = np.array([0.7, 0.3])
    assert divergence({"a": 0.7}, logs) == pytest.approx(rel_entr(p, [q[0], q[1] + q[2]]).sum())
    # An unknown name belongs to the rest, and rounding is none.
    assert divergence({"a": 0.7, "z": 0.3}, logs) == divergence({"a": 0.7}, logs)
    assert divergence({"a": 0.9999, "b": 0.0}, logs) == pytest.approx(0.9999 * np.log(0.9999 / q[0]))
    assert divergence({"a": 0.5, "b": 0.2, "c": 0.1}, logs) is None


def test_embeddings_agree_by_their_cosine(tmp_path: Path) -> None:
    made = TextBundle(tmp_path / "made", "embedding", wordpiece())
    ask = asker(made.folder, least=0.8)
    vector = made.answer("word").astype(float)
    across = np.roll(vector, 1)
    for teacher in (3 * vector, vector + 0.2 * across, across, -vector):
        cosine = teacher @ vector / np.linalg.norm(teacher) / np.linalg.norm(vector)
        seen = ask({"text": "word", "embedding": teacher.tolist()})["compared"]
        assert seen["similarity"] == pytest.approx(cosine, abs=1e-5)
        assert seen["why"] == (None if cosine >= 0.8 else "meaning")
        # Nobody can judge vectors.
        assert not {"prompt", "teacher", "student"} & seen.keys()
    assert ask({"text": "word", "embedding": [1.0]}) == {"not_compared": "the teacher's embedding has 1 numbers, and the student's 6"}


def test_images_are_prepared_as_the_code_of_apps_prepares_them(tiny: Path, tmp_path: Path) -> None:
    with found(tiny / "runs/tiny") as file:
        # The first target ships a file that only an interpreter runs here.
        assert not file.name.endswith((".mlpackage", ".aimodel"))
    name, bundle = "student-int8.onnx", tiny / "runs/tiny/bundles/raspberry-pi"
    ask, same = (asker(folder / name, tmp_path) for folder in (tiny / "runs/tiny/artifacts", bundle))
    sys.path.insert(0, str(bundle / "python"))
    glue = import_module("tiny_model")
    rng = np.random.default_rng(5)
    with glue.Model.load(bundle, artifact=name) as model:
        for number, shape in enumerate(((40, 57, 3), (33, 32, 4), (90, 61))):
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / f"{number}.png")
            expected = model.predict(tmp_path / f"{number}.png")
            scores = dict(zip(expected.labels, expected.probabilities.tolist(), strict=True))
            data = base64.b64encode((tmp_path / f"{number}.png").read_bytes()).decode()
            for row in ({"image": f"{number}.png"}, {"image_base64": data}):
                for one in (ask, same):
                    seen = one({**row, "scores": scores})["compared"]
                    assert (seen["agrees"], seen["student"]) == (True, expected.best.label)
                    assert abs(seen["divergence"]) < 1e-6
    sys.path.remove(str(bundle / "python"))
    assert ask({"image_base64": "AAAA", "label": "1"}) == {"not_compared": "the image can't be read"}
    shown = task("image-classification").asked({"image": str(tmp_path / "0.png")})
    assert shown.image is not None
    assert shown.image.startswith(b"\x89PNG")
    with pytest.raises(UserError, match="can't be read any more"):
        task("image-classification").asked({"image": str(tmp_path / "gone.png")})


@pytest.mark.parametrize("way", [Resize(), Resize(side=40), Resize(side=36, stretch=True, filter="cubic", odd_margin="down")])
def test_the_preparation_of_images_is_read_back_from_the_manifest(way: Resize) -> None:
    data = Data(image_size=32, resize=way)
    expected = way if way.side else way.model_copy(update={"side": 32})
    assert resize_of(preprocessing(data, ["a"]).inputs["image"]) == (32, expected)


def test_arrays_agree_by_their_fit(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    port = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])], "g", [port("x", TensorProto.FLOAT, [1, 3])], [port("y", TensorProto.FLOAT, [1, 3])]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "neg.onnx")
    inputs, outputs = ([{"name": name, "dtype": "float32", "shape": [1, 3]}] for name in "xy")
    files = [{"path": str(tmp_path / "neg.onnx"), "signature": {"inputs": inputs, "outputs": outputs}}]
    file = ModelFile("tensors", "neg.onnx", "", "edgedistill.backends.onnx.adapter", "", "", files, {}, None, {}, {}, {}, "")
    own = task("tensors")
    student = own.shadow(file, {"least": 0.95}, 1, None)
    np.save(tmp_path / "x.npy", np.array([[1, 2, 3]], np.float32))

    def ask(given: Any, answer: Any) -> dict[str, Any]:
        request, response = own.trace({"inputs": {"x": given}, "outputs": {"y": answer}}, tmp_path)
        told = base64.b64encode(json.dumps(response).encode()).decode()
        return student({"request": json.dumps(request), "response": told, "type": "", "encoding": ""})

    assert ask([1, 2, 3], [[-1, -2, -3]])["compared"]["similarity"] == 1
    assert ask("x.npy", [-1, -2, -3.05])["compared"]["agrees"]
    far = ask("x.npy", [-1, -2, -4])["compared"]
    assert (far["why"], far["similarity"]) == ("value", pytest.approx(1 - (1 / 3) ** 0.5 / 3))
    assert ask([1, 2], [1, 2, 3]) == {"not_compared": "the array x has another shape than the model's"}
    with pytest.raises(ValueError, match=r"inputs\.x: found no file"):
        ask("other.npy", [1, 2, 3])


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("text-classification", {"text": 3, "label": "a"}, "found text, label, expected text, a string"),
        ("text-classification", {"text": "a"}, "expected label, a string, or scores"),
        ("text-classification", {"text": "a", "scores": {"a": 1.5}}, "a probability for each name"),
        ("text-classification", {"text": "a", "scores": {"a": 0.7, "b": 0.6}}, "found probabilities that add up to 1.300"),
        ("embedding", {"text": "a", "embedding": ["1"]}, "embedding: expected a list of numbers"),
        ("image-classification", {"image": "gone.png", "label": "a"}, "image: found no file"),
        ("image-classification", {"image_base64": "a" * (17 << 20), "label": "a"}, "found 17,825,792 characters, expected 16,777,216"),
        ("image-classification", {"label": "a"}, "found label, expected image, a path, or image_base64"),
        ("tensors", {"inputs": {"x": [1]}}, "found inputs, expected outputs, an object"),
    ],
)
def test_what_is_no_trace_of_a_task_is_told(name: str, row: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        task(name).trace(row, tmp_path)


def test_a_replay_of_texts_is_counted_and_sampled(classifier: TextBundle, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(20):
        logits = classifier.answer(f"word {number}")
        names = [LABELS[int(place)] for place in np.argsort(-logits)]
        rows.append({"text": f"word {number}", "label": names[number % 4 == 0], "ms": 5.0})
    setting = Shadowing(classifier.folder, out=tmp_path / "seen")
    document = replay(setting, Rules(tolerance=0.5, people=3), jsonl(tmp_path / "t.jsonl", rows))
    assert (document.n, document.disagreements, document.why) == (20, 5, {"decision": 5})
    assert (document.student, document.sha256) == (classifier.entry["name"], classifier.entry["sha256"])
    people = [json.loads(line) for line in (tmp_path / "seen/people.jsonl").read_text().splitlines()]
    assert len(people) == 6
    assert all(row["answers"]["student"] in LABELS and row["prompt"]["text"].startswith("word") for row in people)
    # People judge what disagrees, of which these samples have a part.
    begun = review(tmp_path / "seen", seed=3)
    assert (begun.candidate, begun.reference, begun.rubric) == ("student", "teacher", "decisions/1")
    sampled = {row["id"]: row for row in people if row["why"]}
    assert (begun.answers, begun.differing, begun.pairs) == (20, 5, len(sampled))
    with closing(Store(Path(begun.file))) as store:
        assert store.path.parent == tmp_path / "seen/reviews"
        store.link("ana")
        for number, pair in enumerate(store.pairs()):
            row = next(row for row in sampled.values() if row["prompt"]["text"] == pair.prompt)
            assert (pair.candidate, pair.reference) == (row["answers"]["student"], row["answers"]["teacher"])
            store.add(Judgement("ana", number, {OVERALL: "candidate"}, "", 1, candidate_first=True))
    judged = review(tmp_path / "seen", pairs=50)
    assert judged.judgements == len(sampled)
    assert judged.all_answers.value == pytest.approx(5 / 20 + 15 / 20 / 2)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="--reference: found control, expected teacher"):
        review(tmp_path / "seen", reference="control")
    # The same folder is for the same student and rules.
    again = replay(setting, Rules(tolerance=0.5, people=3), tmp_path / "t.jsonl")
    assert again.model_copy(update={"created": document.created}) == document
    with pytest.raises(UserError, match=r"t\.jsonl:1: found no file|t\.jsonl:1: found text"):
        replay(setting, Rules(tolerance=0.5), jsonl(tmp_path / "t.jsonl", [{"text": "a"}]))


def test_a_review_of_what_agrees_everywhere_or_is_old_is_refused(tmp_path: Path) -> None:
    jsonl(tmp_path / "verdicts.jsonl", [
        {"of": {"task": "causal-lm"}}, {"id": "1", "agrees": True, "why": None}, {"id": "2", "agrees": False, "why": "no answer"},
        {"id": "3", "not_compared": "odd"},
    ])  # fmt: skip
    with pytest.raises(UserError, match=r"found no file .*people\.jsonl, expected the folder of `edgedistill shadow`"):
        review(tmp_path)
    jsonl(tmp_path / "people.jsonl", [{"id": "1", "sample": "random", "prompt": "a", "answers": {}, "why": None}])
    with pytest.raises(UserError, match="all 1 answers of student and of teacher are equal"):
        review(tmp_path)
    jsonl(tmp_path / "verdicts.jsonl", [{"of": {}}])
    with pytest.raises(UserError, match="is of an older version, which did not say its task"):
        review(tmp_path)


def test_wishes_of_written_answers_are_refused_for_other_tasks(classifier: TextBundle, tmp_path: Path) -> None:
    traces = jsonl(tmp_path / "t.jsonl", [{"text": "a", "label": "b"}])
    setting = Shadowing(classifier.folder, constrained=True, out=tmp_path / "seen")
    with pytest.raises(UserError, match=r"found --policy, --constrained, which are for models that write answers"):
        replay(setting, Rules(policy=["x"]), traces)
    with pytest.raises(UserError, match="a proxy serves models that write answers; name --traces FILE"):
        serve(setting, Rules(), "http://localhost:8000/v1")
    assert not (tmp_path / "seen").exists()
