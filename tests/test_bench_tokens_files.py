"""Generation by real files of a small decoder: its times are those of a bare loop, and a kit without its kernels says so."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_device_runtimes import CORE, PACKAGE

import edgedistill
from edgedistill.backends.executorch import adapter_numpy
from edgedistill.export.lower import lower
from edgedistill.export.programs import load_signature, save_program
from edgedistill.measure import harness, local, places
from edgedistill.measure.adapters import executor_of
from edgedistill.measure.benchfile import write_random_samples
from edgedistill.measure.generation import Asked, Stateful, stateful
from edgedistill.measure.harness import Protocol
from edgedistill.records import ArtifactSpec, Unavailable
from edgedistill.records.generation import CallTimes, Generation

PROMPT, NEW, VOCABULARY = 20, 12, 300
FILES = [ArtifactSpec("executorch", "fp32"), ArtifactSpec("onnx", "fp32")]
LOOP = """
import importlib, json, sys, time
import numpy as np
module, path, signature, prompt, new = json.loads(sys.argv[1])
adapter = importlib.import_module(module)
adapter.prepare(1)
forward = adapter.load(path, 1, signature)
firsts, others = [], []
end = time.monotonic() + 1
while time.monotonic() < end or len(firsts) < 30:
    given, place = np.zeros((1, prompt), np.int32), 0
    for number in range(new):
        positions = np.arange(place, place + given.shape[1], dtype=np.int32)[None]
        started = time.perf_counter_ns()
        answer = forward({"input_ids": given, "positions": positions, "wanted": np.array([[given.shape[1] - 1]], np.int32)})
        (others if number else firsts).append(time.perf_counter_ns() - started)
        place += given.shape[1]
        given = np.full((1, 1), answer["logits"][0, 0].argmax(), np.int32)
print(json.dumps([firsts, others]))
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a small llama in both formats that keep a state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "causal_lm")
        made = importlib.import_module("made_decoders")
    from edgedistill.tasks.causal_lm import cached
    from edgedistill.tasks.causal_lm.decoder import signature

    folder = tmp_path_factory.mktemp("decoder")
    deployed = cached.deployed(made.decoder(), made.LENGTH)
    ports = signature(made.LENGTH, VOCABULARY, NEW, cached.state(deployed))
    save_program(deployed, ports, folder / FILES[0].program, sizes=ports.limits)
    for spec in FILES:
        assert lower([spec], folder, folder, folder / "log", {}).error is None
    return folder


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def median(durations_ns: list[int]) -> float:
    """In milliseconds."""
    return sorted(durations_ns)[len(durations_ns) // 2] / 1e6


@pytest.mark.parametrize("spec", FILES, ids=lambda spec: spec.format)
def test_the_times_of_tokens_are_those_of_a_bare_loop(folder: Path, spec: ArtifactSpec, tmp_path: Path) -> None:
    ports = load_signature(folder / spec.program)
    file = stateful(ports)
    assert isinstance(file, Stateful)
    what = Asked(file, (PROMPT,), NEW)
    method = ports.forward.with_sizes({"tokens": PROMPT, "wanted": 1})
    write_random_samples(tmp_path / "inputs", method, 1, file.positions)
    job = [executor_of(spec).module, str(folder / spec.name), ports.forward.model_dump(mode="json"), PROMPT, NEW]
    distances: list[float] = []
    # A busy machine slows one of both down now and then: in one of a few turns it is alike for both.
    while len(distances) < 6 and min(distances, default=1.0) > 0.05:
        execution = local.execute(
            executor_of(spec).module, folder / spec.name, tmp_path / "inputs", signature=method, outputs=None, threads=1,
            bench={"warmup_s": 0.3, "relative_width": 0.01, "max_s": 1.0, "min_samples": 50}, log=tmp_path / "log", timeout_s=120,
            generation=what,
        )  # fmt: skip
        done = subprocess.run([sys.executable, "-c", LOOP, json.dumps(job)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        assert isinstance(execution.generation, Generation)
        (part,) = execution.generation.by_prompt
        assert isinstance(part.next_token, CallTimes)
        found: Any = [times.latency_ms.p50 for times in (part.first_token, part.next_token)]
        bare = [median(durations) for durations in json.loads(done.stdout)]
        distances.append(max(abs(one / other - 1) for one, other in zip(found, bare, strict=True)))
    assert min(distances) <= 0.05
    whole: Any = execution.generation
    assert whole.context == ports.limits["tokens"]
    assert whole.state_bytes == sum(spec.nbytes for spec in ports.state) == 4 * 2 * 2 * 48 * 16 * 2


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_a_kit_without_the_kernels_of_a_file_says_so_and_measures_the_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    for name in ("executorch_numpy_runtime", "executorch_numpy_runtime-1.5.dist-info"):
        (packages / name).mkdir(parents=True)
    (packages / "executorch_numpy_runtime/__init__.py").write_text(PACKAGE)
    (packages / "executorch_numpy_runtime-1.5.dist-info/METADATA").write_text("Name: executorch-numpy-runtime\nVersion: 1.5\n")
    (tmp_path / "core.cpp").write_text(CORE)
    core = packages / "executorch_numpy_runtime/core.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-o", core, tmp_path / "core.cpp"], check=True)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(edgedistill.__file__).parents[1]), str(packages)]))
    here = places.place

    @contextmanager
    def kit(spec: str, **options: Any) -> Iterator[places.Place]:
        with here(spec, **options) as place:
            yield replace(place, adapters={**place.adapters, "executorch": adapter_numpy.__name__})

    monkeypatch.setattr(places, "place", kit)
    with ExitStack() as stack:
        subjects = [stack.enter_context(harness.of_file(folder / spec.name))[0] for spec in FILES]
        refused, measured = harness.bench(subjects, "local", Protocol("quick", prompts=[8], new_tokens=4))
    assert (refused.validity, refused.adapter) == ("invalid", adapter_numpy.__name__)
    # The reason alone: no type of an error, no path, no traceback.
    assert refused.reasons == [
        "it has attention over a cache, of which executorch-numpy-runtime has no kernels: take the .onnx, or install executorch"
    ]
    assert isinstance(refused.generation, Unavailable)
    assert isinstance(measured.generation, Generation)
    assert [part.prompt_tokens for part in measured.generation.by_prompt] == [8]
