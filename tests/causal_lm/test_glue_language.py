"""Glue code of language models in Python: the package of a bundle writes what the project writes, and its self-test sees what differs."""

import json
import os
import shutil
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from made_language_bundle import FP32, INT4, INT8, bundle

from edgedistill.backends.onnx import adapter
from edgedistill.bundle.check import check_bundle
from edgedistill.bundle.diff import diff_bundles
from edgedistill.bundle.glue import left_out, write_glue
from edgedistill.bundle.readme import readme
from edgedistill.files import sha256_file
from edgedistill.records.manifest import Manifest
from edgedistill.tasks.causal_lm import chat
from edgedistill.tasks.causal_lm.generation import generate, greedy, sampling

pytestmark = pytest.mark.slow

ASKED = [{"role": "user", "content": "What is the weather in Ulm today?"}]
LENGTH, END = 88, 1


@pytest.fixture(scope="module")
def package() -> Iterator[ModuleType]:
    """The package, imported from the bundle."""
    path = str(bundle() / "python")
    sys.path.insert(0, path)
    yield import_module("talker_model")
    sys.path.remove(path)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(bundle(), tmp_path / "bundle")


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The bundle in `folder` after `change` of its manifest, with the hashes of its files as they are."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["files"] = {name: sha256_file(folder / name) for name in manifest["files"]}
    path.write_text(json.dumps(manifest))
    return folder


def written(prompt: list[int], spec: Any = FP32, **options: Any) -> list[int]:
    """What the project writes behind a prompt by the file of `spec`."""
    forward = adapter.load(str(bundle() / spec.name), 1)
    options = {"limit": LENGTH, "stop": {END}, "length": LENGTH} | options
    return generate(forward, np.array(prompt, np.int32), **options).tokens


def test_the_model_writes_what_the_project_writes(package: ModuleType) -> None:
    for spec in (FP32, INT8):
        pieces: list[str] = []
        with package.Model.load(bundle(), artifact=spec.name) as model:
            reply = model.chat(ASKED, on_text=pieces.append)
            assert reply.tokens == written(model.tokens(ASKED), spec)
            assert len(set(reply.tokens)) > 10, "a constant text proves nothing"
            assert "".join(pieces) == reply.text == model._prompts.text(reply.tokens)
            assert reply.time_to_first_token_s > 0
            forward = adapter.load(str(bundle() / spec.name), 1)
            prompt = np.array(model.tokens(ASKED), np.int32)
            expected = generate(forward, prompt, limit=LENGTH, stop={END}, length=LENGTH).logprobs
            np.testing.assert_allclose(reply.logprobs, expected, atol=1e-12)
            assert model.router.confidence(reply) == pytest.approx(np.exp(np.mean(expected)))
            assert not model.router.asks_teacher(reply)
            # What an earlier text left in the cache is not seen.
            assert model.chat(ASKED).tokens == reply.tokens
            text = model.complete("What is", max_tokens=5)
            assert text.tokens == written(model._prompts.complete("What is"), spec, limit=5)
            assert text.finish == "length"


def test_a_prompt_is_given_in_the_pieces_of_the_manifest(package: ModuleType, copy: Path) -> None:
    with package.Model.load(copy, artifact=FP32.name) as model:
        expected = model.chat(ASKED).tokens
    changed(copy, lambda manifest: [entry.update(prompt_piece=5) for entry in manifest["artifacts"]])
    with package.Model.load(copy, artifact=FP32.name) as model:
        sizes, run = list[int](), model.run
        model.run = lambda inputs, **more: sizes.append(inputs["input_ids"].shape[1]) or run(inputs, **more)
        assert model.chat(ASKED).tokens == expected
        size = len(model.tokens(ASKED))
        assert sizes == [5] * (size // 5) + [size % 5] * (size % 5 > 0) + [1] * (len(expected) - 1)


def test_tokens_are_drawn_as_by_the_project(package: ModuleType) -> None:
    with package.Model.load(bundle(), artifact=FP32.name) as model:
        for options in ({"temperature": 0.7}, {"temperature": 1.0, "top_p": 0.8}):
            found = model.chat(ASKED, seed=3, **options).tokens
            assert found == written(model.tokens(ASKED), choose=sampling(3, options["temperature"], options.get("top_p", 1.0)))
            assert found != model.chat(ASKED, seed=4, **options).tokens


def test_an_answer_ends_at_its_end_the_limit_or_the_end_of_the_context(package: ModuleType) -> None:
    with package.Model.load(bundle(), artifact=FP32.name) as model:
        full = model.chat(ASKED)
        place = next(n for n, token in enumerate(full.tokens) if n > 3 and token not in full.tokens[:n])
        model._end = full.tokens[place]
        ended = model.chat(ASKED)
        assert (ended.tokens, ended.finish) == (full.tokens[: place + 1], "stop")
        model._end = LENGTH**2
        whole = model.chat(ASKED)
        assert len(model.tokens(ASKED)) + len(whole.tokens) == LENGTH + 1
        assert whole.finish == "length"
        assert model.chat(ASKED, max_tokens=3).tokens == whole.tokens[:3]


def test_an_answer_can_be_cancelled_and_the_next_one_is_whole(package: ModuleType) -> None:
    with package.Model.load(bundle(), artifact=FP32.name) as model:
        whole, pieces = model.chat(ASKED), list[str]()

        def three(piece: str) -> bool:
            pieces.append(piece)
            return len(pieces) < 3

        ended = model.chat(ASKED, on_text=three)
        assert (ended.finish, len(pieces)) == ("cancelled", 3)
        assert ended.tokens == whole.tokens[: len(ended.tokens)]
        asked = 0

        def fourth() -> bool:
            nonlocal asked
            asked += 1
            return asked == 4

        with pytest.raises(package.Cancelled):
            model.chat(ASKED, cancelled=fourth)
        again = model.chat(ASKED)
        assert (again.tokens, again.logprobs, again.features) == (whole.tokens, whole.logprobs, whole.features)
        assert again.features == {"tokens": len(model.tokens(ASKED)), "answer_tokens": len(whole.tokens)}
        assert (again.text, again.finish) == (whole.text, whole.finish)
    with pytest.raises(package.Closed):
        model.chat(ASKED)


def test_threads_write_one_after_the_other(package: ModuleType) -> None:
    found: dict[int, list[int]] = {}
    with package.Model.load(bundle(), artifact=FP32.name) as model:
        expected = {n: model.complete(f"What {n}").tokens for n in range(4)}
        threads = [threading.Thread(target=lambda n=n: found.update({n: model.complete(f"What {n}").tokens})) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == expected


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: m.chat("What?"), r"found 'What\?', expected a list"),
        (lambda m: m.chat([]), "expected a list"),
        (lambda m: m.chat([{"role": "user"}]), "expected a list of {'role': TEXT, 'content': TEXT}"),
        (lambda m: m.chat([{"role": "user", "content": "word " * 90}]), "found a prompt of [0-9]+ tokens, expected 1 to 88: shorten it"),
        (lambda m: m.complete(""), "found a prompt of 0 tokens, expected 1 to 88"),
        (lambda m: m.complete(b"a"), "found bytes, expected a text"),
        (lambda m: m.complete("a", max_tokens=0), "found max_tokens 0, expected 1 or more"),
        (lambda m: m.complete("a", temperature=-1), "found temperature -1 and top_p 1.0"),
        (lambda m: m.complete("a", temperature=1, top_p=0), "found temperature 1 and top_p 0"),
    ],
)
def test_what_cannot_be_asked_is_told(package: ModuleType, call: Callable[[Any], object], said: str) -> None:
    with package.Model.load(bundle(), artifact=FP32.name) as model, pytest.raises(package.InputError, match=said):
        call(model)


def test_a_self_test_compares_numbers_conversations_and_answers(package: ModuleType, copy: Path) -> None:
    for spec in (FP32, INT8, INT4):
        with package.Model.load(copy, artifact=spec.name) as model:
            found = model.self_test()
            assert found.ok, found.describe()
            assert len(found.answers) == 3
            assert all(0 < one.of <= 32 for one in found.answers)
            assert found.exact == (spec is FP32)
    manifest = json.loads((copy / "manifest.json").read_text())
    assert [len(one["messages"]) for one in manifest["golden_chats"]] == [1, 2, 3]
    place = manifest["golden_answers"][1]["answer"]
    place[2] += 1
    changed(copy, lambda m: m.update(golden_answers=manifest["golden_answers"]))
    with package.Model.load(copy, artifact=FP32.name) as model:
        found = model.self_test()
        assert not found.ok
        assert f"answer 1: 2 of {len(place)} tokens are those of the model in float32: FAILED" in found.describe()
        assert found.agreement == pytest.approx(1 - (len(place) - 2) / sum(one.of for one in found.answers))
    with package.Model.load(copy, artifact=INT8.name) as model:
        found = model.self_test()
        assert found.ok, "a file with fewer bits may write other answers"
        assert "answer 1: 2 of" in found.describe()


def test_a_self_test_sees_another_template_and_another_tokenizer(package: ModuleType, copy: Path) -> None:
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>", "<|end|>\n"))
    with package.Model.load(changed(copy, lambda m: None), artifact=FP32.name) as model:
        found = model.self_test()
    assert not found.ok
    assert "text 'What is the weather?': FAILED: it is tokenized in another way" in found.describe()


def test_a_pte_says_why_it_does_not_run_here(package: ModuleType, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(manifest: dict[str, Any]) -> None:
        (entry,) = [entry for entry in manifest["artifacts"] if entry["name"] == FP32.name]
        manifest["artifacts"].append({**entry, "name": "student-fp32.pte", "format": "executorch", "minimum_runtime": {"executorch": "9"}})
        manifest["ship"]["order"].insert(0, "student-fp32.pte")
        manifest["files"]["student-fp32.pte"] = ""

    (copy / "student-fp32.pte").write_bytes(b"....ET12....llama::custom_sdpa.out....")
    changed(copy, add)
    write_glue(copy / "again", Manifest.model_validate_json((copy / "manifest.json").read_text()), ["python"])
    runtime = copy / "again/python/talker_model/executorch_runtime.py"
    # Its package needs a newer Python than some that run these tests.
    shutil.copy(runtime, bundle() / "python/talker_model")
    try:
        monkeypatch.setattr(import_module("talker_model.executorch_runtime"), "version", lambda: "1.5")
        monkeypatch.setattr(package.Model, "runtimes", {"onnx": "onnx_runtime", "executorch": "executorch_runtime"})
        with package.Model.load(copy) as model:
            assert model.info.artifact == INT8.name, "the next one of the order"
        with pytest.raises(package.RuntimeMissing, match=r"attention over a cache, of which .* has no kernels; take an .onnx file"):
            package.Model.load(copy, artifact="student-fp32.pte")
    finally:
        (bundle() / "python/talker_model/executorch_runtime.py").unlink()


def test_a_template_may_refuse_a_conversation_and_runs_no_code(package: ModuleType, copy: Path) -> None:
    refused = "{{ raise_exception('no system') if messages[0].role == 'system' else '' }}{{ messages[-1].content }}"
    (copy / "chat_template.jinja").write_text(refused)
    with package.Model.load(changed(copy, lambda m: None), artifact=FP32.name) as model:
        assert model.chat(ASKED, max_tokens=1).tokens
        with pytest.raises(package.InputError, match="the chat template refuses the conversation: no system"):
            model.chat([{"role": "system", "content": "a"}, *ASKED])
    (copy / "chat_template.jinja").write_text("{{ messages.__class__.__mro__[1].__subclasses__() }}")
    with (
        package.Model.load(changed(copy, lambda m: None), artifact=FP32.name) as model,
        pytest.raises(package.InputError, match="access to attribute '__class__' of 'list' object is unsafe"),
    ):
        model.chat(ASKED)


def test_other_languages_get_no_code_and_command_and_readme_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Manifest.model_validate_json((bundle() / "manifest.json").read_text())
    without = left_out(manifest, ["kotlin", "python", "typescript"])
    assert list(without) == ["kotlin", "typescript"]
    # What making the bundle told.
    capsys.readouterr()
    assert write_glue(tmp_path, manifest, ["kotlin", "swift", "typescript"]) == []
    assert not any(tmp_path.iterdir())
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": the files keep")[0] for line in said] == [
        f"made: There is no glue code in {language}" for language in ("Kotlin", "Swift", "TypeScript")
    ]
    assert "causal-lm has code for that in Python only. The README of the bundle says how to call them." in said[0]
    text = readme(manifest, [], list(without.values()))
    assert "There is no glue code in Kotlin: the files keep a state between calls" in text
    assert "The files keep 2 tensors from one call to the next" in text
    assert f"Sizes vary: `tokens` up to 88, `wanted` up to {manifest.signature.limits['wanted']}." in text
    assert "The glue code does all of this" not in text
    phones = manifest.model_copy(update={"artifacts": [entry.model_copy(update={"format": "executorch"}) for entry in manifest.artifacts]})
    assert "no runtime for it has the kernels" in left_out(phones, ["python"])["python"]
    assert "further inputs" not in readme(phones, [])


def test_the_readme_names_the_runtime_that_runs_the_files() -> None:
    text = (bundle() / "README.md").read_text()
    assert "[onnx,texts]'`. The runtimes are onnx." in text
    assert "model.chat([{'role': 'user', 'content': 'What is the weather?'}]).text" in text
    assert "In ONNX they are further inputs" in text
    assert "There is no glue code in Kotlin" in text
    assert not (bundle() / "kotlin").exists()


def test_a_bundle_is_checked_and_another_model_is_no_change_for_an_app(copy: Path) -> None:
    assert check_bundle(bundle()).problems == []
    changed(copy, lambda m: [one["answer"].reverse() for one in m["golden_answers"]])
    assert diff_bundles(bundle(), copy).replaceable
    changed(copy, lambda m: m["preprocessing"]["outputs"]["logits"].update(end=2))
    assert not diff_bundles(bundle(), copy).replaceable
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert "chat_template.jinja has the SHA-256" in check_bundle(copy).problems[0]


def test_the_package_has_types_that_hold() -> None:
    options = ["--strict", "--ignore-missing-imports", "--no-incremental", "--config-file", os.devnull]
    command = [sys.executable, "-m", "mypy", *options, "talker_model"]
    done = subprocess.run(command, cwd=bundle() / "python", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


SCRIPT = """
import sys
from talker_model import Model
with Model.load(sys.argv[1]) as model:
    assert not {"torch", "transformers", "edgedistill"} & sys.modules.keys()
    found = model.self_test()
    assert found.ok, found.describe()
    print(*model.chat([{"role": "user", "content": "What is the weather in Ulm today?"}]).tokens)
"""


@pytest.mark.slow
def test_the_wheel_runs_with_a_runtime_and_the_tokenizer_alone(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    (wheel,) = (bundle() / "python").glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[onnx,texts]"], check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True).stdout
    assert not {"torch", "transformers", "edgedistill"} & {found["name"].lower() for found in json.loads(listed)}
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, "-c", SCRIPT, bundle()], capture_output=True, text=True, cwd=tmp_path, env=alone)
    assert done.returncode == 0, done.stderr
    prompt = chat.found(str(bundle())).prompts([ASKED])[0]
    assert [int(token) for token in done.stdout.split()] == written(prompt, INT8, choose=greedy)
