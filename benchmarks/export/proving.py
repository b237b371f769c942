"""Trains and quantizes networks, lowers them to every format, executes the files and holds them to their references.

constructs.py and models.py say which networks. What is in their folder is not done again.
"""

import argparse
import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.backends import backend, formats
from edgedistill.errors import UserError
from edgedistill.records import ArtifactSpec, Parity

DIGITS = Path(__file__).parents[1] / "data" / "mnist10k.npz"
Cases = Mapping[str, tuple[str, str, Callable[[], Any]]]
"""Group, name and builder of each network, by the name of its folder."""


@dataclass(frozen=True)
class Setting:
    """What networks are trained, calibrated and compared on: images of `size` pixels a side, in batches of `batch` for training.

    norms: images from which batch norms get their scale where a network is not trained. at_once: networks that one process lowers, since
    converters take seconds to import.
    """

    size: int
    train: int
    calibration: int
    compared: int
    batch: int
    rate: float
    at_once: int
    norms: int = 0


def digits(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, 3, size, size] in 0..1 and labels, in an order that mixes the classes; the last are those that are compared."""
    import torch

    with np.load(DIGITS) as data:
        images, labels = data["images"], data["labels"]
    order = np.random.default_rng(0).permutation(len(images))[: setting.train + setting.calibration + setting.compared]
    padded = np.pad(images[order].astype(np.float32) / 255, ((0, 0), (2, 2), (2, 2)))
    resized = padded[:, None]
    if setting.size != padded.shape[1]:
        resized = torch.nn.functional.interpolate(torch.from_numpy(resized), size=[setting.size] * 2, mode="bilinear").numpy()
    return np.repeat(resized, 3, 1), labels[order].astype(np.int64)


def trained(build: Callable[[], Any], images: np.ndarray, labels: np.ndarray, setting: Setting) -> Any:
    """The network after one epoch of Adam over the first images."""
    import torch
    from torch.nn import functional as F

    torch.manual_seed(0)
    module = build().train()
    optimizer = torch.optim.Adam(module.parameters(), setting.rate)
    for at in range(0, setting.train, setting.batch):
        given = module(torch.from_numpy(images[at : at + setting.batch]))
        given = next(iter(given.values())) if isinstance(given, dict) else given[0] if isinstance(given, tuple) else given
        optimizer.zero_grad()
        if given.is_floating_point() and given.shape[1] >= 10:
            F.cross_entropy(given[:, :10], torch.from_numpy(labels[at : at + setting.batch])).backward()
        elif not given.is_floating_point():
            break
        else:
            given.mean().backward()
        optimizer.step()
    if setting.norms:
        _scale_norms(module.eval(), torch.from_numpy(images[: setting.norms]))
    return module.eval()


def _scale_norms(module: Any, images: Any) -> None:
    """Give each batch norm the scale of what it gets for `images` [N, 3, H, W], and no mean.

    Without training a deep network's values vanish or explode. With means as well, small differences between images grow from layer to
    layer, and so would those between two runtimes, up to a hundredfold.
    """
    import torch

    def scale(norm: Any, inputs: tuple[Any, ...]) -> None:
        norm.running_var.fill_(float(inputs[0].square().mean()))

    norms = [each for each in module.modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm)]
    hooks = [norm.register_forward_pre_hook(scale) for norm in norms]
    with torch.no_grad():
        module(images)
    for hook in hooks:
        hook.remove()


def prepare(name: str, build: Callable[[], Any], folder: Path, setting: Setting) -> dict[str, Any]:
    """Train and quantize a network, and save its programs, samples and references in `folder`, where it is the role `it`."""
    import torch

    from edgedistill.export.programs import save_program
    from edgedistill.files import write_arrays
    from edgedistill.quantize.graph import float_layers
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.state import convert
    from edgedistill.quantize.static import calibrate
    from edgedistill.signature import TensorSpec
    from edgedistill.tasks.flatten import flatten
    from edgedistill.tasks.modules import batches_of, predict
    from edgedistill.verify.outputs import compare
    from edgedistill.verify.rungs import references

    torch.set_num_threads(1)
    images, labels = digits(setting)
    module = trained(build, images, labels, setting)
    image = TensorSpec.parse(f"image=float32[1,3,{setting.size},{setting.size}]")
    flat, signature = flatten(module, [image], label=name)
    shown = torch.from_numpy(images[setting.train : setting.train + setting.calibration])
    state, batched = None, True
    for any_batch in (True, False):
        try:
            size = 32 if any_batch else 1
            parts = [(part,) for part in shown.split(size)]
            state = convert(calibrate(plain_batchnorm(flat), signature, parts, any_batch=any_batch), signature)
            batched = any_batch
            break
        except Exception:
            if not any_batch:
                raise
    assert state is not None
    for form, program in (("float", flat), ("converted", state.converted), ("unfolded", state.unfolded)):
        save_program(plain_batchnorm(program) if form == "float" else program, signature, folder / "programs" / f"it-{form}.pt2")
    arrays = {"image": images[-setting.compared :]}
    modules = {"it": flat, **references(state.converted)}
    rungs = {rung: predict(each, batches_of(arrays, 1), signature.forward) for rung, each in modules.items()}
    write_arrays(folder / "samples", arrays)
    for rung, values in rungs.items():
        write_arrays(folder / "rungs" / rung, values)
    error = next(iter(compare(rungs["integer"], rungs["it"]).values()))
    first = next(iter(signature.outputs)).name
    ours, theirs = (rungs[rung][first].reshape(setting.compared, -1) for rung in ("integer", "it"))
    steps = {key: float(rungs["it"][key].std(0).max()) / scale for key, scale in state.output_scale.items()}
    return {
        "batched": batched, "scales": state.output_scale, "floats": modules["integer"].floats, "mixed": float_layers(state.converted),
        "snr_db": error.snr_db, "changed": float((ours.argmax(1) != theirs.argmax(1)).mean()),
        "moves_lsb": min(steps.values(), default=None),
        "accuracy": float((theirs[:, :10].argmax(1) == labels[-setting.compared :]).mean()),
    }  # fmt: skip


def executed(artifact: dict[str, Any], folder: str) -> dict[str, Any]:
    """Run a file on the samples in a process of its own, and judge it."""
    from edgedistill.export.fitting import of_file
    from edgedistill.export.programs import load_signature
    from edgedistill.files import read_arrays
    from edgedistill.verify.judge import reference, verdict

    spec, root = ArtifactSpec(**artifact), Path(folder)
    found = backend(spec.format).executor(float16=spec.precision == "fp16")
    if found is None:
        return {"result": "unavailable", "reason": "nothing here executes it"}
    adapter = import_module(found.module)
    adapter.prepare(1)
    signature = load_signature(root / spec.program)
    method = of_file(signature, spec).forward
    samples = read_arrays(root / "samples")
    forward = adapter.load(str(root / spec.name), 1, method.model_dump(mode="json"))
    count = len(next(iter(samples.values())))
    rows = [forward({s.name: samples[s.name][[row]].astype(s.dtype) for s in method.inputs}) for row in range(count)]
    outputs = {s.name: np.concatenate([row[s.name] for row in rows]) for s in method.outputs}
    scales = json.loads((root / "facts.json").read_text())["scales"]
    judged = verdict(spec, outputs, read_arrays(root / "rungs" / reference(spec)), scales=scales)
    assert isinstance(judged, Parity)
    return {"result": "ok" if judged.ok else "wrong", "parity": judged.model_dump(mode="json")}


class Runner:
    """Executes files one after the other in a process that is made anew where a runtime ended it."""

    def __init__(self) -> None:
        self.pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __call__(self, artifact: dict[str, Any], folder: Path) -> dict[str, Any]:
        try:
            return self.pool.submit(executed, artifact, str(folder)).result(120)
        except BrokenProcessPool:
            self.pool = self._new()
            return {"result": "wrong", "reason": "the runtime crashed"}
        except Exception as error:
            return {"result": "wrong", "reason": f"{type(error).__name__}: {str(error)[:300]}"}


def measure(cases: Cases, root: Path, chosen: list[str], setting: Setting, *, again: bool) -> None:
    """Prepare, lower to the formats `chosen`, and execute `cases`."""
    names = list(cases)
    for start in range(0, len(names), setting.at_once):
        _measure({name: cases[name] for name in names[start : start + setting.at_once]}, root, chosen, setting, again=again)


def _measure(cases: Cases, root: Path, chosen: list[str], setting: Setting, *, again: bool) -> None:
    from edgedistill.export.fitting import check, of_file
    from edgedistill.export.lower import lower
    from edgedistill.export.programs import load_operators, load_signature
    from edgedistill.files import write_json

    waiting: dict[str, list[tuple[Path, ArtifactSpec]]] = {name: [] for name in chosen}
    for name, (_, title, build) in cases.items():
        folder = root / name
        results = {} if again or not (folder / "results.json").exists() else json.loads((folder / "results.json").read_text())
        left = [kind for kind in chosen if kind not in results]
        if not left:
            continue
        if again or not (folder / "facts.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            started = time.monotonic()
            try:
                facts = prepare(title, build, folder, setting)
            except Exception as error:
                traceback.print_exc()
                facts = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
            write_json(folder / "facts.json", facts)
            print(f"{title}: prepared in {time.monotonic() - started:.1f} s, {facts}", flush=True)
        if "error" in json.loads((folder / "facts.json").read_text()):
            continue
        for kind in left:
            for precision in (backend(kind).twin, "int8"):
                spec = ArtifactSpec(kind, precision, "it")
                try:
                    check(load_operators(folder / spec.program), load_signature(folder / spec.program), spec)
                    of_file(load_signature(folder / spec.program), spec)
                    waiting[kind].append((folder, spec))
                except UserError as error:
                    _note(folder, kind, precision, {"result": "refused", "reason": str(error)})
    runner = Runner()
    for kind, files in waiting.items():
        # A role for each network, so that one process lowers them all.
        specs = {ArtifactSpec(kind, spec.precision, folder.name): (folder, spec) for folder, spec in files}
        work = root / ".lowering"
        shutil.rmtree(work, ignore_errors=True)
        (work / "programs").mkdir(parents=True)
        for folder, _ in files:
            for path in (folder / "programs").iterdir():
                link = work / "programs" / path.name.replace("it-", f"{folder.name}-")
                if not link.exists():
                    link.symlink_to(path.resolve())
        lowered = lower(list(specs), work, work, root / f"{kind}.log", {"model": root.name}) if specs else None
        for made in lowered.artifacts if lowered else []:
            folder, spec = next(pair for other, pair in specs.items() if other.name == made.name)
            shutil.rmtree(folder / spec.name, ignore_errors=True)
            shutil.move(work / made.name, folder / spec.name)
            found = runner(spec.model_dump(exclude={"name"}), folder)
            _note(folder, kind, spec.precision, found | {"seconds": made.seconds, "bytes": made.bytes, "mixed": made.mixed})
        for failed in lowered.not_lowered if lowered else []:
            folder, spec = next(pair for other, pair in specs.items() if other.name == failed.name)
            _note(folder, kind, spec.precision, {"result": "failed", "reason": failed.reason})
        shutil.rmtree(work)


def _note(folder: Path, kind: str, precision: str, found: dict[str, Any]) -> None:
    path = folder / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results.setdefault(kind, {})[precision] = found
    path.write_text(json.dumps(results, indent=1))
    short = {key: found.get(key) for key in ("result", "reason", "mixed") if found.get(key)}
    parity = found.get("parity", {})
    print(
        folder.name,
        kind,
        precision,
        short,
        {k: parity[k] for k in ("mean_lsb", "max_lsb", "relative") if parity.get(k) is not None},
        flush=True,
    )


def options() -> argparse.Namespace:
    """The command line: the folder, the cases whose name or folder has one of the texts in `only`, the formats, and the page to write."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--formats", type=lambda text: text.split(","), default=[name for name in formats() if name != "ort"])
    arguments.add_argument("--again", action="store_true")
    arguments.add_argument("--page", type=Path)
    return arguments.parse_args()


def wanted(cases: Cases, only: str) -> Cases:
    """The `cases` whose name or folder has one of the texts in `only`, which commas separate; all where it is empty."""
    return {key: case for key, case in cases.items() if not only or any(part in case[1] or part in key for part in only.split(","))}
