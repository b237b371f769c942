"""Teachers of every kind, alone and merged: what they answer is what their own library says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from edgedistill.errors import UserError
from edgedistill.recipe import RecipeError, load_recipe
from edgedistill.tasks.image_classification import huggingface
from edgedistill.tasks.image_classification.build import build_module
from edgedistill.tasks.image_classification.merge import Merger, check_known, disagreement, learned_weights, merged
from edgedistill.tasks.image_classification.recipe.data import Data
from edgedistill.tasks.image_classification.recipe.teachers import (
    FileTeacher,
    HuggingFaceTeacher,
    Route,
    TimmTeacher,
    TorchTeacher,
    Weights,
)
from edgedistill.tasks.image_classification.taps import Taps
from edgedistill.tasks.image_classification.teachers import FileRunner, ModuleTeacher, Outputs

CLASSES = ["a", "b", "c"]
IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny vision transformer with labels in another order, as transformers saves it."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8)
    config.id2label, config.label2id = {0: "c", 1: "x", 2: "a", 3: "b"}, {"c": 0, "x": 1, "a": 2, "b": 3}
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]).save_pretrained(folder)
    return folder


def test_a_hugging_face_teacher_answers_what_transformers_says_matched_by_name(vit: Path) -> None:
    from transformers import ViTForImageClassification

    config = HuggingFaceTeacher(hf=str(vit))
    module = build_module(config, Data(), CLASSES, 0)
    teacher = ModuleTeacher(module, ["logits", "embedding"], Outputs("vit", huggingface.names(config, CLASSES), CLASSES))
    found = teacher({"image": IMAGES})
    shown = (IMAGES - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.2, 0.3, 0.4])[:, None, None]
    with torch.no_grad():
        expected = ViTForImageClassification.from_pretrained(vit).eval()(shown).logits[:, [2, 3, 0]]
    assert found["logits"].numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert found["embedding"].shape == (4, 16)


def test_a_hugging_face_teacher_that_is_trained_gets_a_classifier_of_the_datas_classes(vit: Path) -> None:
    from edgedistill.tasks.image_classification.recipe.teachers import Train

    module = build_module(HuggingFaceTeacher(hf=str(vit), train=Train()), Data(), CLASSES, 0)
    assert module(IMAGES).shape == (4, 3)


def test_a_missing_hugging_face_model_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no image classifier that transformers can load"):
        build_module(HuggingFaceTeacher(hf=str(tmp_path)), Data(), CLASSES, 0)


def test_the_signals_of_a_timm_teacher() -> None:
    module = build_module(TimmTeacher(model="test_vit"), Data(image_size=160), CLASSES, 0)
    large = torch.rand(2, 3, 160, 160)
    found = Taps(module, ["embedding", "features", "features:blocks.0"])({"image": large})
    tokens = module.model.forward_features(module.normalize(large))
    assert torch.equal(found["logits"], module(large))
    assert torch.equal(module.model.get_classifier()(found["embedding"]), found["logits"])
    assert found["features"].shape == (2, tokens.shape[2], 10, 10)
    with pytest.raises(UserError, match=r"no module 'blocks\.9'; did you mean blocks\."):
        Taps(module, ["features:blocks.9"])


def test_a_module_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 3))\n\ndef number():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    module = build_module(TorchTeacher(torch="mine:net"), Data(), CLASSES, 0)
    found = ModuleTeacher(module, ["logits", "embedding"], Outputs("mine", None, CLASSES))({"image": IMAGES})
    assert found["embedding"].shape == (4, 3072)
    with pytest.raises(UserError, match=r"mine:number gave int, expected a torch\.nn\.Module"):
        build_module(TorchTeacher(torch="mine:number"), Data(), CLASSES, 0)
    with pytest.raises(UserError, match=r"mine:nothing can't be loaded"):
        build_module(TorchTeacher(torch="mine:nothing"), Data(), CLASSES, 0)


def test_code_needs_trust(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nteacher: {torch: 'mine:net'}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert 'teacher.torch: found "mine:net", expected --trust-code on the command line' in caught.value.errors[0]
    assert load_recipe(str(path), trust_code=True).command.endswith("--trust-code")


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A linear model that takes NHWC images of 16 px."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = RNG.normal(size=(3, 16 * 16 * 3)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], transB=1)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 16, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "linear", [x], [y], [numpy_helper.from_array(weights, "w")])
    path = tmp_path_factory.mktemp("onnx") / "linear.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path, weights


def test_a_model_file_teaches_by_its_logits(onnx_file: tuple[Path, np.ndarray]) -> None:
    path, weights = onnx_file
    config = FileTeacher(file=path, layout="nhwc", input_size=16, mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
    constant = torch.full((2, 3, 32, 32), 0.75)
    found = FileRunner(config, Outputs("file", None, CLASSES))({"image": constant})["logits"]
    assert found.numpy() == pytest.approx(np.tile(weights.sum(axis=1), (2, 1)), rel=1e-3, abs=1e-3)
    with pytest.raises(UserError, match="expected one float32 image of batch 1"):
        FileRunner(FileTeacher(file=path), Outputs("file", None, CLASSES))({"image": constant})


def test_files_of_all_runtimes_teach_alike(tiny: Path) -> None:
    files = ("artifacts/student-fp32.onnx", "artifacts/student-fp32.tflite", "artifacts/student-fp32.pte")
    images = torch.rand(3, 3, 32, 32)
    digits = [str(number) for number in range(10)]
    first, *others = [
        FileRunner(FileTeacher(file=path), Outputs("file", None, digits))({"image": images})["logits"]
        for path in (tiny / "runs/tiny" / file for file in files)
    ]
    assert first.std() > 0.1
    for other in others:
        assert other.numpy() == pytest.approx(first.numpy(), rel=1e-4, abs=1e-4)


def test_a_file_that_is_no_model_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"broken\.onnx: it can't be loaded"):
        FileRunner(FileTeacher(file=path), Outputs("file", None, CLASSES))({"image": IMAGES})


def test_outputs_are_matched_by_name_added_where_they_mean_the_same_and_refused_where_they_do_not_fit() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    outputs = Outputs("t", ["b", "other", "a", "b"], CLASSES)
    found = outputs(logits)
    assert found[0, :2].tolist() == pytest.approx([3.0, np.log(np.exp(1) + np.exp(4))])
    assert found[0, 2] == -np.inf
    assert outputs.known.tolist() == [True, True, False]
    with pytest.raises(UserError, match=r"gives logits of shape \(1, 4\), and the data has 3; name its outputs"):
        Outputs("t", None, CLASSES)(logits)
    with pytest.raises(UserError, match=r"none of its classes \(x, y, \.\.\.\) is a class of the data"):
        Outputs("t", ["x", "y"], CLASSES)


def p(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


A, B = RNG.normal(size=(6, 3)) * 2, RNG.normal(size=(6, 3)) * 2
EVERYONE = np.ones((2, 3), bool)
INDICES = np.arange(6)


def merger(how: object, known: np.ndarray = EVERYONE, fields: dict | None = None) -> Merger:
    return Merger(how, ["one", "two"], known, fields or {})  # type: ignore[arg-type]


def answers(*logits: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [{"logits": values} for values in logits]


def test_mean_and_weights_average_probabilities() -> None:
    assert np.exp(merger("mean")(answers(A, B), INDICES)["logits"]) == pytest.approx((p(A) + p(B)) / 2, rel=1e-5)
    weighted = merger(Weights(weights={"one": 3.0, "two": 1.0}))
    assert np.exp(weighted(answers(A, B), INDICES)["logits"]) == pytest.approx(0.75 * p(A) + 0.25 * p(B), rel=1e-5)


def test_confidence_takes_the_surest_and_a_field_the_one_that_it_names() -> None:
    surest = np.where((p(A).max(axis=1) > p(B).max(axis=1))[:, None], p(A), p(B))
    assert np.exp(merger("confidence")(answers(A, B), INDICES)["logits"]) == pytest.approx(surest, rel=1e-5)
    place = np.array(["in", "out", "in", "in", "out", "sea"])
    routed = merger(Route(field="place", to={"in": "one", "out": "two"}, otherwise="two"), fields={"place": place})
    expected = np.where((place == "in")[:, None], p(A), p(B))
    chosen = INDICES[::-1]
    assert np.exp(routed(answers(A[chosen], B[chosen]), chosen)["logits"]) == pytest.approx(expected[chosen], rel=1e-5)
    with pytest.raises(UserError, match="no teacher for place sea"):
        merger(Route(field="place", to={"in": "one", "out": "two"}), fields={"place": place})
    with pytest.raises(UserError, match=r"the data has no field 'plaze', expected one of place"):
        merger(Route(field="plaze", to={"in": "one"}), fields={"place": place})


def test_learned_weights_are_those_of_the_highest_likelihood() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    knows, guesses = rng.normal(size=(400, 3)), rng.normal(size=(400, 3)) * 3
    knows[np.arange(400), labels] += 2
    weights = learned_weights([knows, guesses], labels)

    def likelihood(share: float) -> float:
        mixed = share * p(knows) + (1 - share) * p(guesses)
        return float(np.log(mixed[np.arange(400), labels]).mean())

    grid = np.linspace(0.01, 0.99, 99)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] == pytest.approx(grid[np.argmax([likelihood(x) for x in grid])], abs=0.02)


def test_specialists_are_merged_class_by_class() -> None:
    ours, theirs = A.copy(), B.copy()
    ours[:, 2], theirs[:, 0] = -np.inf, -np.inf
    found = merged([ours, theirs], np.ones((2, 6)))
    assert found == pytest.approx(np.stack([A[:, 0], (A[:, 1] + B[:, 1]) / 2, B[:, 2]], axis=1), rel=1e-5)
    surest = merged([ours, theirs], None)
    assert np.isfinite(surest).all()
    known = np.array([[True, True, False], [False, True, True]])
    with pytest.raises(UserError, match="no teacher knows the class c"):
        check_known(np.array([[True, True, False], [True, True, False]]), CLASSES)
    with pytest.raises(UserError, match="learned needs teachers that know every class"):
        merger("learned", known=known)


def test_disagreement_of_each_pair() -> None:
    (found,) = disagreement({"one": A, "two": B})
    middle = (p(A) + p(B)) / 2
    expected = 0.5 * ((p(A) * np.log(p(A) / middle)).sum(axis=1) + (p(B) * np.log(p(B) / middle)).sum(axis=1)).mean()
    assert found.share == (A.argmax(axis=1) != B.argmax(axis=1)).mean()
    assert found.further["Jensen-Shannon divergence, nats"] == pytest.approx(expected)
    alone = A.copy()
    alone[:, 1:] = -np.inf
    (found,) = disagreement({"one": alone, "two": B})
    assert "fewer than two classes" in found.share.unavailable


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("teacher: {model: resnet18, hf: x}", "found model and hf, expected one of model, hf, torch and file"),
        ("teacher: {members: [{name: a}]}", "at least 2 entries"),
        ("teacher: {members: [{name: a}, {name: a}]}", "found a, a, expected a different name for each member"),
        ("teacher: {members: [{name: a}, {name: b}], merge: maen}", "(did you mean 'mean'?)"),
        ("teacher: {members: [{name: a}, {name: b}], merge: {weights: {a: 1.0}}}", "expected a weight for each of a, b"),
        ("teacher: {members: [{name: a}, {name: bee}], merge: {field: f, to: {x: be}}}", "found a route to be, expected one of a, bee"),
        ("teacher: {members: [{name: a, modle: x}, {name: b}]}", "(did you mean 'model'?)"),
        (
            "teacher: {members: [{name: a}, {name: b}]}\ndistill: {stages: [{name: hints, losses: {hint: {}}}, {name: qat}]}",
            "found the loss hint in stage hints, which needs the teacher's features, expected losses of what it gives",
        ),
        ("distill: {stages: [{name: align}, {name: qat, losses: {rkd: {}}}]}", "found rkd in qat, expected losses of outputs"),
        ("distill: {stages: [{name: align, mixup: true, losses: {kd: {}}}, {name: qat}]}", "expected online: true beside mixup"),
        (
            "distill: {stages: [{name: align, mixup: true, online: true, losses: {ce: {}, kd: {}}}, {name: qat}]}",
            "found mixup: true with ce, expected losses that need no targets",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_teachers_are_reported_before_anything_runs(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"name: x\n{text}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert len(caught.value.errors) == 1
    assert error in caught.value.errors[0]
