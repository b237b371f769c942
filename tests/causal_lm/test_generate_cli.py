"""The command generate: it answers prompts by a file of a bundle or a run, constrained by a schema or not, and says what is wrong."""

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from conftest import edgedistill
from made_language_bundle import FP32, INT8, bundle
from made_llm import fields
from tokenizers import Tokenizer

from edgedistill.backends.onnx import adapter
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import sha256_file
from edgedistill.records.documents import documents
from edgedistill.steps.generate import Writing, generate
from edgedistill.tasks.causal_lm import generation
from edgedistill.tasks.causal_lm.glue.python.prompts import Prompts

ASKED = "What is the weather in Ulm today?"
LENGTH, END, LOGITS = 88, 1, 320
CALL = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
    "required": ["name", "arguments"],
    "additionalProperties": False,
}
"""The schema of the bundle."""
NESTED = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 3, "maxLength": 8},
        "kind": {"enum": ["alpha", "beta"]},
        "list": {
            "type": "array", "minItems": 1,
            "items": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "boolean"}}, "required": ["x", "y"]},
        },
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
    },
    "required": ["name", "kind", "list", "code"],
    "additionalProperties": False,
}  # fmt: skip


def expected(prompt: str, spec: Any = FP32, system: str | None = None, **options: Any) -> generation.Generated:
    """What the project writes in this process."""
    prompts = Prompts(bundle() / "tokenizer.json", (bundle() / "chat_template.jinja").read_text(), {})
    said = [] if system is None else [{"role": "system", "content": system}]
    tokens = np.array(prompts.chat([*said, {"role": "user", "content": prompt}]), np.int32)
    return generation.generate(
        adapter.load(str(bundle() / spec.name), 1), tokens, limit=options.pop("limit", LENGTH), stop={END}, length=LENGTH, **options
    )


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


@pytest.mark.slow
def test_the_document_has_text_tokens_probabilities_and_times(tmp_path: Path) -> None:
    done = edgedistill("generate", bundle(), ASKED, "--artifact", FP32.name, "--system", "Be brief.", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document, made = json.loads(done.stdout), expected(ASKED, system="Be brief.")
    jsonschema.validate(document, documents()["generate"].model_json_schema(mode="serialization", by_alias=True))
    assert document["tokens"] == made.tokens
    assert document["logprobs"] == pytest.approx(made.logprobs, abs=1e-5)
    assert document["text"] == Tokenizer.from_file(str(bundle() / "tokenizer.json")).decode(made.tokens, skip_special_tokens=True)
    assert document["prompt_tokens"] + len(made.tokens) == LENGTH + 1
    assert (document["artifact"], document["executed_by"], document["finish"]) == (FP32.name, "own_runtime", "length")
    assert document["time_to_first_token_ms"] > 0 < document["tokens_per_s"]
    assert "onnxruntime" in document["runtime"]


@pytest.mark.slow
def test_the_answer_goes_to_stdout_and_a_prompt_may_come_from_stdin(tmp_path: Path) -> None:
    made = expected(ASKED, INT8, limit=9)
    answer = Tokenizer.from_file(str(bundle() / "tokenizer.json")).decode(made.tokens)
    shown = "".join(char if char.isprintable() else "\ufffd" for char in answer)
    # The file is named, and lies in a bundle.
    done = edgedistill("generate", bundle() / INT8.name, "-", "--max-tokens", 9, cwd=tmp_path, input=f"{ASKED}\n")
    assert (done.returncode, done.stdout) == (0, f"{shown}\n"), done.stderr
    assert f"{INT8.name}: " in done.stderr
    assert "9 tokens, cut off at the limit, the first after" in done.stderr


def test_a_terminal_sees_the_text_as_it_comes(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edgedistill", "generate", str(bundle()), ASKED, "--artifact", FP32.name, "--max-tokens", "6"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, cwd=tmp_path, timeout=300)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    answer = Tokenizer.from_file(str(bundle() / "tokenizer.json")).decode(expected(ASKED, limit=6).tokens)
    assert "".join(shown.split()) == "".join("".join(char if char.isprintable() else "\ufffd" for char in answer).split())


CALLER = """
import sys
from edgedistill import Writing, generate
pieces = []
found = generate(sys.argv[1], sys.argv[2], writing=Writing(max_tokens=int(sys.argv[3])), on_text=pieces.append)
assert "".join(pieces) == found.text and len(pieces) > 5
assert not {"torch", "transformers", "onnxruntime", "tokenizers"} & sys.modules.keys(), sys.modules.keys()
"""


def test_the_process_that_asks_loads_no_runtime_and_no_torch(tmp_path: Path) -> None:
    tokenizer, tokens = Tokenizer.from_file(str(bundle() / "tokenizer.json")), expected(ASKED, INT8).tokens
    # Its last character is half.
    most = next(n for n in range(12, len(tokens)) if tokenizer.decode(tokens[:n]).endswith("\ufffd"))
    done = subprocess.run([sys.executable, "-c", CALLER, bundle(), ASKED, str(most)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_seed_draws_the_same_answer_again() -> None:
    found = [generate(bundle(), ASKED, writing=Writing(12, 1.0, 0.9, seed)).tokens for seed in (5, 5, 6)]
    assert found[0] == found[1] != found[2]
    assert found[0] == expected(ASKED, INT8, limit=12, choose=generation.sampling(5, 1.0, 0.9)).tokens


def test_answers_of_a_random_model_fit_the_schema(tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    assert json.loads((bundle() / "schema.json").read_text()) == CALL
    (tmp_path / "schema.json").write_text(json.dumps(NESTED))
    asked = [(CALL, {"constrained": True}), (NESTED, {"json_schema": tmp_path / "schema.json"})]
    for schema, options in asked:
        for writing in (Writing(), Writing(temperature=1.0, seed=1)):
            found = generate(bundle(), "play it", writing=writing, **options)  # type: ignore[arg-type]
            jsonschema.validate(json.loads(found.text), schema)
            assert found.tokens[-1] == END
            assert found.constrained
    assert not _fits(generate(bundle(), "play it").text, CALL), "the model alone writes none"


def _fits(text: str, schema: Any) -> bool:
    try:
        return bool(jsonschema.Draft202012Validator(schema).is_valid(json.loads(text)))
    except ValueError:
        return False


@pytest.mark.parametrize("schema", [CALL, NESTED, {"type": "array"}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}])
def test_json_is_whole_however_little_room_there_is(schema: dict[str, Any]) -> None:
    pytest.importorskip("llguidance")
    from edgedistill.tasks.causal_lm.structured import Grammar

    text = (bundle() / "tokenizer.json").read_text()
    tokenizer, grammar = Tokenizer.from_str(text), Grammar(schema, text, vocabulary=LOGITS, stop={END})
    least = grammar.closing(generation.greedy, 1).shortest()
    assert least is not None
    lengths = set()
    for room in (least, least + 1, least + 7, 70):
        for seed in range(6):
            random = np.random.default_rng(seed)

            def forward(arrays: Any, random: Any = random) -> Any:
                return {"logits": random.normal(0, 3, (1, arrays["input_ids"].shape[1], LOGITS)).astype(np.float32)}

            choose = grammar.closing(generation.sampling(seed) if seed % 2 else generation.greedy, room)
            found = generation.generate(forward, np.array([5], np.int32), limit=room, stop={END}, choose=choose)
            assert found.tokens[-1] == END
            assert len(found.tokens) <= room
            jsonschema.validate(json.loads(tokenizer.decode(found.tokens[:-1])), schema)
            lengths.add(len(found.tokens))
    assert len(lengths) > 3, "the shortest JSON each time proves nothing"


def test_a_schema_without_room_and_one_that_is_none_are_told(tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    with pytest.raises(UserError, match=r"found room for 4 tokens, and JSON that fits the schema has [0-9]+ or more: raise --max-tokens"):
        generate(bundle(), ASKED, constrained=True, writing=Writing(max_tokens=4))
    (tmp_path / "schema.json").write_text('{"type": "nothing"}')
    with pytest.raises(UserError, match="found a JSON Schema that cannot be followed"):
        generate(bundle(), ASKED, json_schema=tmp_path / "schema.json")
    (tmp_path / "schema.json").write_text("[]")
    with pytest.raises(UserError, match=r"schema\.json holds list, expected a JSON Schema"):
        generate(bundle(), ASKED, json_schema=tmp_path / "schema.json")


def test_without_llguidance_the_message_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "llguidance.py").write_text("raise ImportError('not here', name='llguidance')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = edgedistill("generate", bundle(), ASKED, "--constrained", cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 2
    assert "constrained decoding needs llguidance: pip install edgedistill[llm]" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"artifact": "student-fp23.onnx"}, r"has no file student-fp23.onnx, expected one of .*did you mean 'student-fp32.onnx'\?"),
        ({"prompt": ""}, "found an empty prompt"),
        ({"prompt": "word " * 90}, r"found a prompt of [0-9]+ tokens, with its chat template, expected 1 to 88: shorten it"),
        ({"json_schema": "a.json", "constrained": True}, "expected one of them"),
        ({"json_schema": "missing.json"}, "found no file missing.json, expected one of a JSON Schema"),
        ({"source": "missing"}, "found nothing at missing, expected a run, the folder of a bundle, or a model file"),
    ],
)
def test_what_cannot_be_asked_is_told(options: dict[str, Any], said: str) -> None:
    given = {"source": bundle(), "prompt": ASKED} | options
    with pytest.raises(UserError, match=said):
        generate(given.pop("source"), given.pop("prompt"), **given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_tokens": 0}, "found max_tokens 0, expected 1 or more"),
        ({"temperature": -0.1}, "found temperature -0.1"),
        ({"temperature": float("nan")}, "found temperature nan"),
        ({"top_p": 0}, "found top_p 0"),
    ],
)
def test_how_an_answer_is_written_is_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Writing(**options)


def test_files_without_a_language_model_around_them_are_told(copy: Path, tmp_path: Path) -> None:
    shutil.copy(copy / FP32.name, tmp_path / "alone.onnx")
    with pytest.raises(UserError, match=r"found no run and no bundle around .*alone.onnx: name the one"):
        generate(tmp_path / "alone.onnx", ASKED)
    with pytest.raises(UserError, match=r"found the file .* and --artifact"):
        generate(copy / FP32.name, ASKED, artifact=FP32.name)
    shutil.make_archive(str(tmp_path / "packed"), "zip", copy)
    with pytest.raises(UserError, match=r"packed.zip is packed, expected the folder of a bundle: unpack it"):
        generate(tmp_path / "packed.zip", ASKED)
    (copy / "tokenizer.json").write_text((copy / "tokenizer.json").read_text() + " ")
    with pytest.raises(UserError, match=r"tokenizer\.json of .* was changed or damaged"):
        generate(copy, ASKED)
    changed(copy, lambda m: m["preprocessing"]["inputs"]["input_ids"].update(kind="pixels"))
    with pytest.raises(UserError, match="does not say how its language model is used"):
        generate(copy, ASKED)
    changed(copy, lambda m: m.update(task="text-classification"))
    with pytest.raises(UserError, match="is of the task text-classification, expected causal-lm: only language models answer"):
        generate(copy, ASKED)


def test_a_bundle_without_a_schema_is_told(copy: Path) -> None:
    changed(copy, lambda m: m["preprocessing"]["outputs"]["logits"].pop("schema"))
    with pytest.raises(UserError, match=r"has no JSON Schema of its answers .* name one by --json-schema FILE"):
        generate(copy, ASKED, constrained=True)


def test_a_file_that_gives_no_numbers_is_told(copy: Path) -> None:
    import onnx

    model = onnx.load(copy / FP32.name)
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and len(weight.dims) == 2:
            weight.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(weight.dims), np.nan, np.float32), weight.name))
    onnx.save(model, copy / FP32.name)
    with pytest.raises(DeviceFailed, match=rf"{FP32.name} did not answer: .*found scores of tokens that are no numbers"):
        generate(changed(copy, lambda m: None), ASKED, artifact=FP32.name, writing=Writing(max_tokens=3))


def test_a_runtime_that_fails_is_told_and_ends_nothing_else(copy: Path) -> None:
    (copy / FP32.name).write_bytes((copy / FP32.name).read_bytes()[:2000])
    changed(copy, lambda m: None)
    with pytest.raises(DeviceFailed, match=rf"{FP32.name} did not answer: .*ONNXRuntimeError"):
        generate(copy, ASKED, artifact=FP32.name)


@pytest.mark.slow
def test_a_run_answers_as_its_bundle_does(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "name: one\ndescription: One file.\nminimum_os: none\nglue: [python]\nartifacts: [{format: onnx, precision: fp32}]\n"
    )
    made = fields(targets=["one.yaml"])
    made["data"] |= {"source": {"example": "tool-calls", "rows": 120}, "tried": 3}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(made))
    done = edgedistill("run", "tiny.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs/tiny"
    sources = (run, run / "bundles/one", run / "artifacts/student-fp32.onnx", run / "bundles/one/student-fp32.onnx")
    answers = [generate(source, ASKED) for source in sources]
    assert len(answers[0].tokens) > 3
    assert all(answer.tokens == answers[0].tokens for answer in answers)
    golden = json.loads((run / "bundles/one/manifest.json").read_text())["golden_answers"]
    assert len(golden) == 3
    with pytest.raises(UserError, match=r"has no file other\.onnx"):
        generate(run, ASKED, artifact="other.onnx")
    (run / "artifacts/student-fp32.onnx").write_bytes(b"changed")
    with pytest.raises(UserError, match="SHA-256"):
        generate(run, ASKED)
