"""Decoders with a cache in runtimes: lowered, verified by their rule, and writing the texts of transformers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_decoders import LENGTH, decoder

from edgedistill.backends import backend, backends
from edgedistill.backends.delegation import delegation
from edgedistill.backends.executorch import adapter, adapter_numpy
from edgedistill.backends.inspect import inspect
from edgedistill.errors import UserError
from edgedistill.export.fitting import check, of_file
from edgedistill.export.lower import lower
from edgedistill.export.programs import load_signature, save_program
from edgedistill.measure import local
from edgedistill.measure.adapters import executor_of
from edgedistill.measure.runner.refusal import NotExecutable
from edgedistill.quantize.grid import ROWS, put_on_grid
from edgedistill.recipe.precisions import is_dynamic, needs_program
from edgedistill.records import ArtifactSpec, Delegation, Parity
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.causal_lm import cached
from edgedistill.tasks.causal_lm.decoder import signature
from edgedistill.verify import judge
from edgedistill.verify.dynamic import DynamicReference
from edgedistill.verify.rungs import load_converted

pytestmark = pytest.mark.slow
VOCABULARY, PROMPTS, PROMPT, WRITTEN, SAMPLES = ROWS + 76, 6, 10, 20, 24
PTE, ONNX = ArtifactSpec("executorch", "fp32"), ArtifactSpec("onnx", "fp32")
FILES = [PTE, ONNX, ArtifactSpec("onnx", "int8-dynamic"), ArtifactSpec("onnx", "int4-weights"), ArtifactSpec("ort", "fp32")]
ROUNDED = [ArtifactSpec("executorch", "int8-dynamic"), ArtifactSpec("executorch", "int4-dynamic")]
"""Lowering them takes most of a minute each."""
WRITE = """
import importlib, json, sys
import numpy as np
from edgedistill.tasks.causal_lm.generation import generate
module, path, signature, prompts, limit, length, pieces = json.loads(sys.argv[1])
adapter = importlib.import_module(module)
adapter.prepare(1)
forward = adapter.load(path, 1, signature)
prompts = np.array(prompts, np.int32)
print(json.dumps([[generate(forward, prompt, limit=limit, length=length, piece=piece).tokens for prompt in prompts] for piece in pieces]))
"""
"""A runtime that has one thread pool in a process gets one of its own."""


def name(spec: ArtifactSpec) -> str:
    return f"{spec.format}-{spec.precision}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs and the files of a small llama."""
    folder = tmp_path_factory.mktemp("decoder")
    own = decoder(vocab_size=VOCABULARY)
    deployed = cached.deployed(own, LENGTH)
    ports = signature(LENGTH, VOCABULARY, SAMPLES, cached.state(deployed))
    source = folder / PTE.program
    save_program(deployed, ports, source, sizes=ports.limits)
    for precision in dict.fromkeys(spec.precision for spec in (*FILES, *ROUNDED) if needs_program(spec.precision)):
        graph = load_converted(source)
        put_on_grid(graph, precision)
        save_program(graph, ports, folder / f"program-{precision}" / "student-float.pt2", sizes=ports.limits)
    lowered(FILES, folder)
    return folder


def lowered(specs: list[ArtifactSpec], folder: Path) -> None:
    for kind in dict.fromkeys(spec.format for spec in specs):
        made = lower([spec for spec in specs if spec.format == kind], folder, folder, folder / "log", {})
        assert made.error is None, made.error
        assert all(artifact.signature == load_signature(folder / artifact.program) for artifact in made.artifacts)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(0).integers(0, VOCABULARY, (4, SAMPLES), np.int32)


def answers(rung: Any, samples: np.ndarray) -> np.ndarray:
    places = torch.arange(samples.shape[1], dtype=torch.int32)[None]
    with torch.no_grad():
        return np.concatenate([rung(torch.from_numpy(row[None]), places, places).numpy() for row in samples])


def outputs(spec: ArtifactSpec, folder: Path, samples: np.ndarray, place: Path) -> np.ndarray:
    inputs = {name: place / f"{name}.npy" for name in ("input_ids", "positions", "wanted")}
    np.save(inputs["input_ids"], samples)
    for name in ("positions", "wanted"):
        np.save(inputs[name], np.broadcast_to(np.arange(samples.shape[1], dtype=np.int32), samples.shape))
    local.execute(
        executor_of(spec).module, folder / spec.name, inputs, signature=load_signature(folder / spec.program).forward,
        outputs=place / "logits.npy", threads=1, bench=None, log=place / "log", timeout_s=120,
    )  # fmt: skip
    return np.load(place / "logits.npy")


@pytest.mark.parametrize("spec", FILES, ids=name)
def test_a_file_keeps_its_rule_in_texts_shorter_than_its_cache(
    folder: Path, samples: np.ndarray, spec: ArtifactSpec, tmp_path: Path
) -> None:
    graph = load_converted(folder / spec.program)
    rounds = is_dynamic(spec.precision)
    rung = DynamicReference(graph, tensors=backend(spec.format).dynamic_by_tensor) if rounds else graph
    found = outputs(spec, folder, samples, tmp_path)
    unrounded = {"logits": answers(graph, samples)} if rounds else None

    def verdict(expected: np.ndarray) -> bool | None:
        parity = judge.verdict(spec, {"logits": found}, {"logits": expected}, unrounded=unrounded)
        assert isinstance(parity, Parity)
        return parity.ok

    assert verdict(answers(rung, samples))
    # Of other tokens the logits differ by more than the rule allows.
    assert not verdict(answers(rung, np.roll(samples, 1, axis=1)))


@pytest.mark.parametrize("spec", [spec for spec in FILES if spec.precision == "fp32"], ids=name)
def test_a_file_writes_the_texts_of_transformers(folder: Path, spec: ArtifactSpec) -> None:
    model = decoder(vocab_size=VOCABULARY).model
    prompts = np.random.default_rng(1).integers(0, VOCABULARY, (PROMPTS, PROMPT), np.int32)
    model.set_attn_implementation("eager")
    expected = model.generate(torch.from_numpy(prompts).long(), max_new_tokens=WRITTEN, do_sample=False, pad_token_id=0)
    ports = load_signature(folder / spec.program).forward.model_dump(mode="json")
    job = [executor_of(spec).module, str(folder / spec.name), ports, prompts.tolist(), WRITTEN, LENGTH, [None, 4]]
    done = subprocess.run([sys.executable, "-c", WRITE, json.dumps(job)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    texts, pieced = json.loads(done.stdout.splitlines()[-1])
    assert texts == pieced == expected[:, PROMPT:].tolist()
    assert len({tuple(text) for text in texts}) == PROMPTS
    assert min(len({*text}) for text in texts) > 3, "a constant text proves nothing"


def test_a_pte_that_rounds_activations_rounds_as_its_reference_does(folder: Path, samples: np.ndarray, tmp_path: Path) -> None:
    lowered(ROUNDED, folder)
    for spec in ROUNDED:
        graph = load_converted(folder / spec.program)
        found, plain = outputs(spec, folder, samples, tmp_path), answers(graph, samples)
        expected, by_tensor = (answers(DynamicReference(graph, tensors=tensors), samples) for tensors in (False, True))
        # A value that float32 sums in another order leave at the middle between two steps is rounded the other way. All tokens behind see
        # it, so that the roundings of long texts are independent in the end; of the first tokens they are equal.
        assert of_rounding(found, expected, plain, slice(0, 2)) < 0.1
        assert of_rounding(found, by_tensor, plain, slice(0, 2)) > 0.5
        assert of_rounding(found, expected, plain, slice(None)) < 1.2
        can_be_read(folder / spec.name)


def of_rounding(found: np.ndarray, expected: np.ndarray, plain: np.ndarray, places: slice) -> float:
    """RMS difference of `found` from `expected` at some places, over what rounding activations changes there."""
    ours, rounding = (found - expected)[:, places], (expected - plain)[:, places]
    return float(np.sqrt((ours**2).mean() / (rounding**2).mean()))


def can_be_read(path: Path) -> None:
    content, read = inspect(path), delegation("executorch", path)
    assert isinstance(read, Delegation)
    kernels = {operator.rpartition("::")[2]: count for operator, count in read.outside.items()}
    assert (kernels["custom_sdpa"], kernels["update_cache"]) == (2, 4)
    assert not {"index_put", "index_copy", "_softmax"} & set(kernels), "the cache is written in place"
    assert read.partitions > 0
    assert content.operators["llama::custom_sdpa"] == 2


def test_a_pte_has_the_kernels_of_language_models_and_can_be_read(folder: Path) -> None:
    can_be_read(folder / PTE.name)
    assert adapter.needs_language_kernels(str(folder / PTE.name))
    assert not adapter.needs_language_kernels(str(folder / ONNX.name))
    with pytest.raises(NotExecutable, match=r"of which executorch-numpy-runtime has no kernels: take the \.onnx, or"):
        adapter_numpy.load(str(folder / PTE.name), 1)


def test_an_onnx_passes_its_cache_on_and_can_be_read(folder: Path) -> None:
    import onnx

    graph = onnx.load(str(folder / ONNX.name)).graph
    kept = [f"state_{place}" for place in range(4)]
    assert [port.name for port in graph.input] == ["input_ids", "positions", "wanted", *kept]
    assert [port.name for port in graph.output] == ["logits", *(f"{name}_next" for name in kept)]
    assert [size.dim_value for size in graph.input[3].type.tensor_type.shape.dim] == [1, 2, LENGTH, 16]
    assert [node.op_type for node in graph.node].count("GroupQueryAttention") == 2
    assert not {"Reciprocal", "ScatterND"} & {node.op_type for node in graph.node}, "norms are fused, and the cache is written in place"
    assert inspect(folder / ONNX.name).operators["com.microsoft.GroupQueryAttention"] == 2
    assert isinstance(delegation("onnx", folder / ONNX.name), Delegation)


def test_an_onnx_of_fewer_bits_has_the_bytes_of_its_integers(folder: Path) -> None:
    sizes = {spec.precision: (folder / spec.name).stat().st_size for spec in FILES if spec.format == "onnx"}
    assert sizes["fp32"] / sizes["int8-dynamic"] > 3
    assert sizes["int8-dynamic"] > sizes["int4-weights"]


def test_what_keeps_no_state_refuses_it_and_says_what_does(folder: Path) -> None:
    ports = load_signature(folder / PTE.program)
    for kind, facts in backends().items():
        spec = ArtifactSpec(kind, facts.twin)
        if facts.state is None:
            with pytest.raises(UserError, match=f"keeps 4 tensors from one call to the next, and {facts.title} keeps none here; take"):
                check({}, ports, spec)
        else:
            check({}, ports, spec)
            assert of_file(ports, spec) == ports
        for delegate, own in facts.delegates.items():
            with pytest.raises(UserError, match=f"for {delegate} keeps none here"):
                check({}, ports, ArtifactSpec(kind, own.precisions[0], delegate=delegate))


def test_dimensions_vary_up_to_a_limit_where_state_is_inside() -> None:
    ports = [TensorSpec(name="x", shape=(1, "T"))]
    inside = [kind for kind, facts in backends().items() if facts.state == "inside"]
    assert inside
    for kind in inside:
        spec = ArtifactSpec(kind, backend(kind).twin)
        check({}, Signature.of(ports, ports[:0], limits={"T": 8}), spec)
        with pytest.raises(UserError, match="has a dimension that varies"):
            check({}, Signature.of(ports, ports[:0], limits={"S": 8}), spec)
