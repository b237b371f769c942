"""Damaged files of every kind that a user hands over, each a function of its seed, and how edgedistill reads each kind."""

import contextlib
import io
import json
import random
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

JSON_NASTY = [
    "[" * 100_000, "{}", "[]", "null", "1", '"x"', '{"schema": 1}', '{"a": ' * 5000, "NaN", "1" * 100_000, "", '{"files": [1, null, {}]}',
    '{"schema": "edgedistill/manifest/2", "files": [1, null, {}, "../x", "/x"]}', "\ufeff{}",
]  # fmt: skip


def whole(folder: Path, run: Path | None) -> dict[str, list[Path]]:
    """Undamaged files by kind, in `folder`; the model files are those of `run`, the folder of a finished run."""

    folder.mkdir(parents=True, exist_ok=True)
    made = {"image": _images(folder), "samples": _samples(folder), "records": _records(folder)}
    made |= {"checkpoint": [_checkpoint(folder)], "table": [_table(folder)], "shards": [_shards(folder, made["image"])]}
    made |= {"store": [_store(folder)], "document": _documents(folder)}
    if run is not None:
        # The packages of some formats are folders.
        made["model"] = sorted(
            path for path in (run / "artifacts").iterdir() if not path.name.startswith(".") and path.suffix not in (".config", "")
        )
        made["manifest"] = sorted((run / "bundles").glob("*/manifest.json"))
    return {kind: paths for kind, paths in made.items() if paths}


def damaged(seed: int, files: dict[str, list[Path]], folder: Path) -> tuple[str, Path]:
    """The kind and the path of a damaged copy in `folder`; half of the copies are of model files."""
    choose = random.Random(seed)
    kind = "model" if "model" in files and choose.random() < 0.5 else choose.choice(sorted(files))
    source = choose.choice(files[kind])
    place = folder / "bundle" / source.name if kind == "manifest" else folder / source.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place)
        inner = choose.choice(sorted(path for path in place.rglob("*") if path.is_file()))
        inner.write_bytes(_damage(choose, inner.read_bytes()))
    elif source.suffix == ".json" and choose.random() < 0.4:
        place.write_text(choose.choice(JSON_NASTY), encoding="utf-8")
    else:
        place.write_bytes(_damage(choose, source.read_bytes()))
    return kind, place


def _damage(choose: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    # Sizes and offsets stand at the beginning and at the end of most formats.
    near = choose.choice((64, 512, len(data)))
    at = min(len(data), choose.randrange(near + 1)) if choose.random() < 0.7 else max(0, len(data) - choose.randrange(near + 1))
    match choose.randrange(8):
        case 0:
            return bytes(data[:at])
        case 1:
            data[at : at + 4] = choose.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0\0\0\x80"))
        case 2:
            data[at : at + 8] = choose.choice((b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0\0\0\0\1\0\0\0"))
        case 3:
            for _ in range(choose.choice((1, 8, 200))):
                if data:
                    data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        case 4:
            data[at : at + choose.randrange(1, 5000)] = b""
        case 5:
            data[at:at] = choose.randbytes(choose.randrange(1, 300))
        case 6:
            data[at : at + 1000] = bytes(1000)
        case _:
            return choose.randbytes(choose.randrange(3000))
    return bytes(data)


def read(kind: str, path: Path, folder: Path) -> None:
    """Read a file as the commands do that are given one. Errors of edgedistill say what is wrong with it."""
    _READERS[kind](path, folder)


def execute(seed: int, files: dict[str, list[Path]], folder: Path, run: Path) -> None:
    """Give a damaged model file to its runtime, as `bench` and `verify` do: in a process of its own, which may crash."""
    from edgedistill.backends import of_suffix
    from edgedistill.export.programs import load_signature
    from edgedistill.measure import local

    _, path = damaged(seed, {"model": [path for path in files["model"] if _runs(path)]}, folder)
    kind = of_suffix(path)
    assert kind is not None
    method = load_signature(run / "work" / "programs" / "student-float.pt2").forward
    inputs = folder / "inputs"
    inputs.mkdir()
    for spec in method.inputs:
        np.save(inputs / f"{spec.name}.npy", np.zeros((1, *spec.fixed[1:]), spec.dtype))
    local.execute(
        kind.adapters[0].module, path, inputs, signature=method, outputs=None, threads=1, bench=None, log=folder / "log.txt", timeout_s=25
    )


def _runs(path: Path) -> bool:
    from edgedistill.backends import of_suffix

    kind = of_suffix(path)
    return kind is not None and kind.measured_here


def _image(path: Path, folder: Path) -> None:
    from edgedistill.errors import UserError
    from edgedistill.tasks.image_classification.decoding import read

    try:
        read(path)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _npz(path: Path, folder: Path) -> None:
    from edgedistill.tasks.image_classification.sources import npz
    from edgedistill.tasks.tensors import samples

    if path.name.startswith("images"):
        npz(path)
    else:
        samples.read(path)


def _read_checkpoint(path: Path, folder: Path) -> None:
    from torch import nn

    from edgedistill.tasks.code import load_checkpoint

    load_checkpoint(nn.Linear(4, 4), path, "a layer")


def _read_table(path: Path, folder: Path) -> None:
    from edgedistill.tasks.image_classification.sources import table

    table(path, image="image", label="label", split=None)


def _read_shards(path: Path, folder: Path) -> None:
    from edgedistill.errors import UserError
    from edgedistill.tasks.image_classification.shards import webdataset

    listing = webdataset(str(path))
    try:
        for index in range(len(listing.labels)):
            listing.read(index)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _model(path: Path, folder: Path) -> None:
    """What `inspect` does, with the work of its child process in this one, whose memory is watched."""
    from edgedistill.backends import inspect
    from edgedistill.backends.inspect import worker

    kind = inspect._kind(path)
    said, before = io.StringIO(), sys.argv
    sys.argv = ["worker", kind.format, str(path)]
    try:
        with contextlib.redirect_stdout(said):
            worker.main()
    finally:
        sys.argv = before
    inspect._content(said.getvalue(), 0, str(path), "")


def _manifest(path: Path, folder: Path) -> None:
    from edgedistill.bundle.folder import check

    check(path.parent)


def _read_store(path: Path, folder: Path) -> None:
    from edgedistill.measure import store

    with store.opened(path) as opened:
        opened.measurements()


def _read_document(path: Path, folder: Path) -> None:
    from edgedistill.cli.parallel import _document
    from edgedistill.measure import fleet
    from edgedistill.recipe.targets import load_target
    from edgedistill.records.stored import DeviceBench

    if path.name.startswith("fleet"):
        fleet.load(path)
    elif path.name.startswith("target"):
        load_target(str(path))
    else:
        _document("local", 0, path.read_text(errors="replace"), DeviceBench)


def _read_records(path: Path, folder: Path) -> None:
    from edgedistill.measure.records import parse

    parse(path.read_bytes(), "n")


_READERS: dict[str, Callable[[Path, Path], None]] = {
    "image": _image, "samples": _npz, "checkpoint": _read_checkpoint, "table": _read_table, "shards": _read_shards, "model": _model,
    "manifest": _manifest, "store": _read_store, "document": _read_document, "records": _read_records,
}  # fmt: skip


def _images(folder: Path) -> list[Path]:
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8))
    paths = []
    for suffix in ("png", "jpg", "tif", "gif", "bmp", "webp", "ppm"):
        paths.append(folder / f"image.{suffix}")
        image.save(paths[-1])
    return paths


def _samples(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    images, arrays = folder / "images.npz", folder / "arrays.npz"
    np.savez_compressed(images, images=rng.integers(0, 256, (20, 8, 8), np.uint8), labels=np.arange(20) % 2)
    np.savez(arrays, x=rng.normal(size=(8, 4)).astype(np.float32), split=np.arange(8) % 3)
    return [images, arrays]


def _records(folder: Path) -> list[Path]:
    from edgedistill.measure.runner.records import Recorder

    path = folder / "records.jsonl"
    with open(path, "wb") as handle:
        recorder = Recorder(handle)
        recorder.write("start", nonce="n", versions={}, facts={})
        recorder.write("memory", peak_rss=1, rss_runtime_loaded=1, source="x")
        recorder.end("n")
    return [path]


def _checkpoint(folder: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    path = folder / "layer.safetensors"
    save_file({"weight": torch.zeros(4, 4), "bias": torch.zeros(4)}, path)
    return path


def _table(folder: Path) -> Path:
    path = folder / "table.csv"
    path.write_text("image,label\n" + "".join(f"image.png,{i % 2}\n" for i in range(20)))
    return path


def _shards(folder: Path, images: list[Path]) -> Path:
    path = folder / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for index in range(4):
            for name, data in ((f"{index}.png", images[0].read_bytes()), (f"{index}.cls", str(index % 2).encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return path


def _store(folder: Path) -> Path:
    from edgedistill.measure import store

    path = folder / "measurements.db"
    with store.opened(path):
        pass
    return path


def _documents(folder: Path) -> list[Path]:
    bench, fleet, target = folder / "bench.json", folder / "fleet.yaml", folder / "target.yaml"
    bench.write_text(json.dumps({"device": "local", "status": "ok", "measurements": []}))
    fleet.write_text("devices:\n  pixel: {device: 'adb:1', tags: [phones]}\n  board: {device: 'ssh:pi@board'}\n")
    target.write_text("name: mine\ndescription: A board.\nminimum_os: '1'\nartifacts:\n  - {format: onnx, precision: int8}\n")
    return [bench, fleet, target]
