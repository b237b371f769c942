"""Recipes and targets: defaults, every mistake at once with its place, --set, and the JSON Schema."""

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from edgedistill.backends import backends
from edgedistill.recipe import (
    Recipe,
    RecipeError,
    find_recipe,
    list_recipes,
    list_targets,
    load_recipe,
    load_target,
    recipe_schema,
)
from edgedistill.recipe.starter import first_recipe, starters


def write(folder: Path, text: str) -> str:
    path = folder / "r.yaml"
    path.write_text(text)
    return str(path)


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    """The texts of all mistakes, without the folder."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(folder, text), list(overrides))
    return [error.removeprefix(f"{folder}/") for error in caught.value.errors]


def test_a_name_is_enough_and_the_effective_recipe_is_a_recipe(tmp_path: Path) -> None:
    loaded = load_recipe(write(tmp_path, "name: x\n"))
    assert loaded.recipe == Recipe.model_validate({"name": "x"})
    assert [stage.name for stage in loaded.recipe.distill.stages] == ["finetune", "qat"]
    assert Recipe.model_validate(loaded.effective()) == loaded.recipe


def test_a_first_recipe_and_that_of_folders_train_as_the_schema_does(tmp_path: Path) -> None:
    usual = Recipe.model_validate({"name": "x"}).distill.stages
    first = first_recipe(tmp_path / "x.yaml", task="image-classification", data="sklearn-digits", targets=["ios"])
    folders = load_recipe("vision/imagefolder", [f"data.source.imagefolder={tmp_path}"])
    for recipe in (load_recipe(write(tmp_path, first)).recipe, folders.recipe):
        assert recipe.distill.stages == usual
        assert recipe.distill.schedule == "joint"


def test_a_stage_without_lr_has_that_of_its_task() -> None:
    images = Recipe.model_validate({"name": "x", "distill": {"stages": [{"name": "align"}, {"name": "qat"}]}})
    assert images.distill.stages[0].lr == Recipe.model_validate({"name": "x"}).distill.stages[0].lr == 8e-3


def test_the_stage_qat_trains_for_what_files_of_a_task_are(tmp_path: Path) -> None:
    text = "name: x\ntask: {task}\n{more}distill: {{stages: [{{name: finetune}}, {{name: qat{qat}}}]}}\n"
    models = "data: {source: {example: tool-calls}}\nteacher: &llama {config: {model_type: llama}}\nstudent: *llama\n"
    language = {"task": "causal-lm", "more": models}
    images = {"task": "image-classification", "more": ""}
    precisions = [load_recipe(write(tmp_path, text.format(**one, qat=""))).recipe.learning.qat.precision for one in (language, images)]
    assert precisions == ["int4-dynamic", "int8"]
    load_recipe(write(tmp_path, text.format(**images, qat=", precision: int4-dynamic, losses: {hint: {}}")))
    (error,) = mistakes(tmp_path, text.format(**language, qat=", precision: int8"))
    assert "expected precision: int4-dynamic in the stage qat" in error
    (error,) = mistakes(tmp_path, text.format(**images, qat=", precision: int4-dynamic, ranges: learned"))
    assert "found ranges beside precision: int4-dynamic, expected them with precision: int8 only" in error


def test_quickstart_is_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Away from the repository, where recipes/quickstart.yaml is a file.
    monkeypatch.chdir(tmp_path)
    loaded = [load_recipe(name) for name in ("recipes/quickstart.yaml", "quickstart", "./recipes/quickstart.yaml")]
    assert {item.path for item in loaded} == {"recipes/quickstart.yaml"}
    assert loaded[0].command == "edgedistill run recipes/quickstart.yaml"
    assert load_recipe("quickstart", ["seed=3"]).command == "edgedistill run recipes/quickstart.yaml --set seed=3"


def test_a_users_file_goes_before_a_recipe_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/quickstart.yaml").write_text("name: mine\n")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("recipes/quickstart.yaml").recipe.name == "mine"


def test_the_first_comment_of_each_recipe_launches_it() -> None:
    listed = list_recipes()
    names = ["llm/chat", "llm/tool-calls", "quickstart", "text/classifier", "text/embedder", "vision/imagefolder"]
    assert [info.name for info in listed] == names
    for info in listed:
        assert info.command.startswith(f"edgedistill run recipes/{info.name}.yaml")
        assert info.description


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'quickstart'"):
        load_recipe("recipes/quikstart.yaml")


def test_three_mistakes_give_three_errors_with_line_expectation_and_nearest_name(tmp_path: Path) -> None:
    assert mistakes(
        tmp_path, "name: x\ndata:\n  imagesize: 32\n  batch_size: many\nteacher: {model: resnet18}\ntargets: [ios, andriod]\n"
    ) == [
        "r.yaml:3: data.imagesize: found an unknown field, expected one of split, views, batch_size, source, unlabelled, sets, holdout,"
        " image_size, resize, augment, mean, std, leakage (did you mean 'image_size'?)",
        'r.yaml:4: data.batch_size: found "many", expected a whole number',
        "r.yaml:6: targets.1: found no target 'andriod', expected the path of a YAML file or one of android, android-camera,"
        " android-gpu, ios, ios-camera, ios-coreai, ios-executorch, linux, llm-linux, llm-mobile, onnx-mobile, raspberry-pi, "
        "text-linux, text-mobile, tradeoff, web"
        " (did you mean 'android'?)",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nmae: x", "r.yaml:1: nmae: found an unknown field"),
        ("name: x\nimage_size: 8", "(did you mean 'data.image_size'?)"),
        ("name: x\nseed: 1.5", "r.yaml:2: seed: found 1.5, expected a whole number"),
        ("name: x\nseed: true", "r.yaml:2: seed: found true, expected a whole number"),
        ("name: x\ndata: {image_size: 8}", "data.image_size: found 8, expected a number of at least 16"),
        ("name: x\ndata: {mean: [0.5, 0.5]}", "data.mean: found [0.5, 0.5], expected at least 3 entries"),
        ("name: x\ndata: {std: [0.5, 0, 0.5]}", "data.std.1: found 0, expected a number above 0"),
        ("name: x\ndata: {augment: {hflip: yes}}", 'data.augment.hflip: found "yes", expected true or false'),
        ("name: x\ndata: {split: {val: 0.6, holdout: 0.4}}", "data.split: found val 0.6 and holdout 0.4, expected a sum below 1"),
        ("name: x\ndata: [1]", "r.yaml:2: data: found [1], expected a mapping of split, views, batch_size, source"),
        ("name: x y", 'name: found "x y", expected text that matches'),
        ("name: x\nteacher: {train: null}", "teacher: found none of them, expected train, checkpoint or pretrained"),
        ("name: x\nstudent: {checkpoint: a.pt}", "student.checkpoint: found \"a.pt\", expected a .safetensors file"),
        ("name: x\nstudent: {checkpoint: a.safetensors}", "student.checkpoint: no such file: a.safetensors"),
        ("name: x\ntask: detection", "task: found \"detection\", expected 'image-classification'"),
        ("name: x\ntargets: [ios, ios]", "targets: found ios more than once"),
        ("name: x\ntargets: []", "targets: found [], expected at least 1 entries"),
        ("name: x\ndata: {batch_size: .nan}", "data.batch_size: found NaN, expected"),
        ("[1, 2]", "r.yaml:1: recipe: found [1, 2], expected a mapping"),
        ("", "r.yaml:1: recipe: found an empty file, expected a mapping"),
        ("name: x\nseed: [1", "r.yaml:3: found expected ',' or ']'"),
        ("name: x\nseed: 1\nseed: 2", "r.yaml:3: found duplicate key"),
    ],
)  # fmt: skip
def test_one_mistake_gives_one_error(tmp_path: Path, text: str, error: str) -> None:
    found = mistakes(tmp_path, text + "\n")
    assert len(found) == 1
    assert error in found[0]


@pytest.mark.parametrize("source", ["sklearn-digit", "{imagefoldr: a}", "{imagefolder: a, npz: b}", "3", "null", "[]", "{}"])
def test_a_wrong_source_gives_one_error(tmp_path: Path, source: str) -> None:
    (error,) = mistakes(tmp_path, f"name: x\ndata:\n  source: {source}\n")
    assert error.startswith("r.yaml:3: data.source: found")
    assert (
        "expected 'sklearn-digits', {imagefolder: DIR}, {images: DIR}, {npz: FILE}, {csv: FILE}, {hf: DIR} or {webdataset: PATTERN}"
        in error
    )


def test_a_missing_folder_or_file_is_reported_with_the_other_mistakes(tmp_path: Path) -> None:
    first, second = mistakes(tmp_path, "name: x\ndata: {source: {imagefolder: nowhere}}\nstudent: {chekpoint: a}\n")
    assert first.startswith("r.yaml:2: data.source.imagefolder: no such folder: nowhere")
    assert "did you mean 'checkpoint'" in second
    (error,) = mistakes(tmp_path, "name: x\ndata: {source: {npz: nowhere.npz}}\n")
    assert "no such file: nowhere.npz" in error


def test_a_wrong_field_does_not_hide_a_mistake_between_fields(tmp_path: Path) -> None:
    text = "name: x\ndata:\n  views: 0\n  split: {val: 0.9, holdout: 0.9}\nteacher: {modle: a, train: null}\n"
    places = [error.split(": ")[1] for error in mistakes(tmp_path, text)]
    assert sorted(places) == ["data.split", "data.views", "teacher.modle"]


@pytest.mark.parametrize(
    ("stages", "error"),
    [
        (["name: qat"], "distill.stages: found qat, expected one or more of hints, align and finetune, and then qat or nothing"),
        (["name: finetune", "name: align", "name: qat"], "distill.stages: found finetune, align, qat"),
        (["name: qat", "name: align"], "distill.stages: found qat, align"),
        (["name: align", "name: qat", "name: qat"], "distill.stages: found align, qat, qat"),
        (["name: aling", "name: qat"], "distill.stages.0.name: found \"aling\", expected 'hints', 'align', 'finetune' or"),
        (["name: align, losses: {ce: {weight: 0}}", "name: qat"], "distill.stages.0.losses: found"),
        (["name: align, losses: {}", "name: qat"], "expected at least one of ce, kd, dkd, dist,"),
        (["name: align, losses: {mdca: {}}", "name: qat"], "expected at least one of ce, kd, dkd, dist,"),
        (["name: align, losses: {kd: {weight: -1}}", "name: qat"], "kd.weight: found -1, expected a number of at least 0, or {start"),
        (["name: align, losses: {kd: {weight: {start: 1, end: -1}}}", "name: qat"], "expected a number of at least 0, or {start: A"),
        (["name: align, losses: {kd: {temperature: {start: 0, end: 4}}}", "name: qat"], "expected a number above 0 and at most 100"),
        (["name: align, losses: {kd: {temperature: {start: 4, and: 4}}}", "name: qat"], "kd.temperature.and: found an unknown field"),
        (["name: align, losses: {kd: {weight: much}}", "name: qat"], "losses.kd.weight: found \"much\", expected a number"),
        (["name: align, losses: {kdd: {}, ce: {}}", "name: qat"], "distill.stages.0.losses.kdd: found an unknown field"),
        (["name: align, freeze_observers: 0.5", "name: qat"], "expected one of name, epochs, lr, losses"),
        (["name: align", "name: qat, freeze_batchnorm: 0"], "distill.stages.1.freeze_batchnorm: found 0, expected a number above 0"),
        (["name: align", "name: qat, freeze_observers: 1.5"], "stages.1.freeze_observers: found 1.5, expected a number of at most 1"),
        (["name: align", "name: qat, freeze_batchnorm: 0.9"], "found freeze_batchnorm 0.9 above freeze_observers 0.67"),
        (["name: align, epochs: 0", "name: qat"], "distill.stages.0.epochs: found 0"),
    ],
)  # fmt: skip
def test_stages(tmp_path: Path, stages: list[str], error: str) -> None:
    text = "name: x\ndistill:\n  stages:\n" + "".join(f"    - {{{stage}}}\n" for stage in stages)
    (found,) = mistakes(tmp_path, text)
    assert error in found


def test_all_valid_orders_of_stages_load(tmp_path: Path) -> None:
    for names in (["align", "qat"], ["finetune", "qat"], ["align", "finetune", "qat"], ["align", "finetune"]):
        text = "name: x\ndistill:\n  stages:\n" + "".join(f"    - {{name: {name}}}\n" for name in names)
        assert [stage.name for stage in load_recipe(write(tmp_path, text)).recipe.distill.stages] == names


def test_set_changes_fields_lists_and_the_kind_of_source(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    sets = [
        "data.image_size=64",
        "distill.stages.0.epochs=1",
        "teacher.train.lr=1e-2",
        f"data.source.imagefolder={folder}",
        "targets=[ios]",
    ]
    for text in ("name: x\n", "name: x\ndata: {source: {npz: nowhere.npz}}\nteacher: {train: null}\n"):
        recipe = load_recipe(write(tmp_path, text), sets).recipe
        assert recipe.data.image_size == 64
        assert recipe.distill.stages[0].epochs == 1
        assert recipe.distill.stages[1].name == "qat"
        assert recipe.teacher.train is not None
        assert recipe.teacher.train.lr == 0.01
        assert recipe.model_dump(mode="json")["data"]["source"] == {"imagefolder": str(folder)}
        assert recipe.targets == ["ios"]


def test_the_last_set_wins_and_mistakes_in_it_name_it(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "name: x\n"), ["seed=1", "seed=2"]).recipe.seed == 2
    found = mistakes(
        tmp_path, "name: x\n", "data.image_size=abc", "data.imagesize=1", "seed", "distill.stages.9.epochs=1", "measure.threads=[1"
    )
    assert sorted(error.split(": ")[0] for error in found) == sorted(
        f"--set {text}" for text in ("data.image_size=abc", "data.imagesize=1", "seed", "distill.stages.9.epochs=1", "measure.threads=[1")
    )
    assert any(error == '--set data.image_size=abc: data.image_size: found "abc", expected a whole number' for error in found)


def test_a_tag_in_yaml_never_constructs_an_object(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (error,) = mistakes(tmp_path, f"name: !!python/object/apply:os.system ['touch {marker}']\n")
    assert "found the tag" in error
    assert not marker.exists()


def test_a_finished_run_is_read_without_its_data() -> None:
    effective = Recipe.model_validate({"name": "x"}).model_dump(mode="json")
    effective["data"]["source"] = {"imagefolder": "gone"}
    assert Recipe.model_validate(effective).model_dump(mode="json")["data"]["source"] == {"imagefolder": "gone"}


def test_the_json_schema_accepts_the_recipes_of_the_package_and_refuses_a_typo() -> None:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for info in list_recipes():
        value = YAML(typ="safe").load(find_recipe(info.name)[0].read_text())
        jsonschema.validate(value, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**value, "nmae": "x"}, schema)


def test_every_field_has_a_description() -> None:
    schema = recipe_schema()
    for name, definition in [*schema["$defs"].items(), ("Recipe", schema)]:
        for field, value in definition.get("properties", {}).items():
            # A field with a model of its own may leave the description to the model.
            referred = schema["$defs"].get(value.get("$ref", "").removeprefix("#/$defs/"), {})
            assert value.get("description") or referred.get("description"), f"{name}.{field}"


def test_targets_of_the_package() -> None:
    wanted = {
        "ios": {"coreml int8", "coreml fp16", "coreai int8", "coreai fp32", "executorch int8", "executorch fp32"},
        "ios-coreai": {"coreai int8", "coreai fp16", "coreai fp32"},
        "android": {"executorch int8", "executorch fp32", "litert int8", "litert fp32"},
        "onnx-mobile": {"ort int8", "ort fp32"},
        "web": {"onnx int8", "onnx fp32"},
        "raspberry-pi": {"litert int8", "litert fp32", "onnx int8", "onnx fp32", "executorch int8", "executorch fp32"},
        "linux": {"onnx int8", "onnx fp32", "executorch int8", "executorch fp32"},
        "ios-executorch": {"executorch int8 coreml", "executorch fp16 coreml", "executorch int8", "executorch fp32"},
        "android-gpu": {
            *(f"executorch {precision} vulkan" for precision in ("int8", "fp16", "fp32")),
            "executorch int8",
            "executorch fp32",
        },
        "ios-camera": {"coreml int8 image", "coreml fp16 image"},
        "android-camera": {f"{kind} {precision} uint8-nhwc" for kind in ("litert", "executorch") for precision in ("int8", "fp32")},
        "llm-linux": {
            *(f"executorch {held}" for held in ("int4-dynamic", "int8-dynamic", "fp32")),
            *(f"onnx {held}" for held in ("int8-dynamic", "fp32")),
        },
        "llm-mobile": {
            *(f"{kind} {held}" for kind in ("executorch", "litert") for held in ("int4-dynamic", "int8-dynamic", "fp32")),
            *(f"coreml {held}" for held in ("int4-weights", "int8-weights", "fp16")),
        },
        "text-linux": {f"{kind} {held}" for kind in ("onnx", "litert", "executorch") for held in ("int8-dynamic", "fp32")},
        "text-mobile": {
            *(f"{kind} {held}" for kind in ("litert", "executorch") for held in ("int8-dynamic", "fp32")),
            *("coreml int8-weights", "coreml fp16"),
        },
        "tradeoff": {f"{kind} {held}" for kind, own in backends().items() for held in own.precisions if held != "int16x8"},
    }
    assert list_targets() == sorted(wanted)
    for name, artifacts in wanted.items():
        found = [a.model_dump(exclude_defaults=True).values() for a in load_target(name).artifacts]
        assert {" ".join(values) for values in found} == artifacts


def test_label_smoothing_of_a_teacher_has_to_be_insisted_on(tmp_path: Path) -> None:
    (error,) = mistakes(tmp_path, "name: x\nteacher: {train: {label_smoothing: 0.1}}\n")
    assert "found label_smoothing 0.1, expected 0, since a teacher trained with it teaches worse" in error
    text = "name: x\nteacher: {train: {label_smoothing: 0.1, allow_label_smoothing: true}}\n"
    assert load_recipe(write(tmp_path, text)).recipe.teacher.train.label_smoothing == 0.1


def test_a_users_target_and_its_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "watch.yaml"
    path.write_text("name: watch\ndescription: A watch.\nminimum_os: watchOS 10\nartifacts: [{format: coreml, precision: int8}]\n")
    assert load_target(str(path)).name == "watch"
    assert load_recipe(write(tmp_path, f"name: x\ntargets: [{path}]\n")).recipe.targets == [str(path)]
    path.write_text(
        "name: watch\ndescripton: A watch.\nminimum_os: watchOS 10\nbudgets: {ms: 3}\nartifacts:\n"
        "  - {format: coreml, precision: fp32}\n  - {format: corelm, precision: int8}\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_target(str(path))
    places = [error.split(": ")[:2] for error in caught.value.errors]
    assert [f"{place.rsplit(':', 1)[1]} {field}" for place, field in places] == [
        "2 descripton",
        "4 budgets.ms",
        "6 artifacts.0",
        "7 artifacts.1.format",
    ]


def test_recipes_load_without_torch() -> None:
    code = "import sys, edgedistill.recipe as r; r.load_recipe('quickstart'); sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_docs_have_every_field() -> None:
    schema = recipe_schema()
    text = (Path(__file__).parent.parent / "docs/recipes.md").read_text()
    for definition in [*schema["$defs"].values(), schema]:
        for field in definition.get("properties", {}):
            assert f"`{field}`" in text or f"{{{field}:" in text, field


def test_a_program_can_give_the_fields_themselves(tmp_path: Path) -> None:
    fields = {"name": "made", "data": {"source": {"imagefolder": tmp_path}, "image_size": 48}}
    loaded = load_recipe(fields, ["seed=3"])
    assert (loaded.recipe.name, loaded.recipe.data.image_size, loaded.recipe.seed) == ("made", 48, 3)
    assert "seed" not in fields
    assert load_recipe(loaded) is loaded
    with pytest.raises(RecipeError) as wrong:
        load_recipe({"nam": "made", "data": {"image_size": "large"}})
    assert wrong.value.errors == [
        'the recipe: data.image_size: found "large", expected a whole number',
        "the recipe: nam: found an unknown field, expected one of name, task, seed, data, teacher, student, distill, quantize, targets, "
        "measure, licenses, gate, threads (did you mean 'name'?)",
    ]
    with pytest.raises(RecipeError, match="expected text, numbers, lists and dicts"):
        load_recipe({"name": object()})


def test_a_recipe_is_checked_without_numpy_and_torch() -> None:
    code = """
import sys
from edgedistill.recipe import load_recipe
load_recipe({"name": "a"})
print(sorted({"numpy", "scipy", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("task", starters())
def test_the_first_recipe_of_each_task_is_valid(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    starter, path = starters()[task], Path("mine.yaml")
    Path(starter.default).touch()
    path.write_text(first_recipe(path, task=task, data=starter.default, targets=list(starter.targets)))
    found = load_recipe(str(path), trust_code=starter.names_code).recipe
    assert (found.task, found.targets) == (task, list(starter.targets))
