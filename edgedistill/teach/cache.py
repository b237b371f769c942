"""The signal cache of one teacher: what it said of every training sample and view, on disk, checked and repaired."""

import functools
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill import scratch
from edgedistill.errors import DamagedFile, StorageFailed, UserError
from edgedistill.files import canonical_hash, read_json, write_json
from edgedistill.progress import log, track
from edgedistill.recipe.stages import Cache
from edgedistill.rows import Rows
from edgedistill.tasks.base import Teacher
from edgedistill.tasks.data import Dataset
from edgedistill.tasks.loading import Loader, Request
from edgedistill.teach.encoding import Encoding, encoding_of
from edgedistill.threads import chosen, using

_SCHEMA = "edgedistill/signals/1"
_CHUNK_ROWS = 512
_SAVE_EVERY_S = 5.0


@dataclass(frozen=True)
class CachedSignals:
    """What one teacher said: arrays by signal and view, with a row for each training sample."""

    arrays: dict[tuple[str, int], Rows]
    encodings: dict[str, Encoding]
    position: np.ndarray

    def batch(self, indices: np.ndarray, view: int) -> dict[str, np.ndarray]:
        """The signals float32 [B, ...] to view `view` of the samples `indices` [B]."""
        rows = self.position[indices]
        return {name: encoding.decode(self.arrays[name, view][rows]) for name, encoding in self.encodings.items()}


def cache_folder(root: Path, facts: dict[str, Any]) -> Path:
    """Where the answers are kept that `facts` lead to: any change of what the teacher is or saw gives another folder.

    A view's number is in the file's name, so that more views extend a cache instead of replacing it; and so is a signal's.
    """
    return root / canonical_hash(facts)[:32]


def compute(
    make_teacher: Callable[[list[str]], Teacher],
    facts: dict[str, Any],
    data: Dataset,
    *,
    signals: frozenset[str],
    scores: frozenset[str],
    count: int,
    folder: Path,
    options: Cache,
    batch_size: int,
    seed: int,
    threads: int | None = None,
) -> CachedSignals:
    """The signals of `count` views of the training samples; what is on disk and whole is kept, the rest is asked of the teacher.

    threads: of the processor, None for those that are fastest; what is added to a cache is computed with as many as it began with.

    scores: names of the signals whose last axis has logits of classes. seed: of what is drawn of them. make_teacher: called with the
    signals that are missing, and only where some are.

    Raises UserError when the cache in `folder` is another teacher's, and when the teacher answers NaN; StorageFailed when the disk is too
    small.
    """
    mark = folder / "signals.json"
    scratch.remove_half_written(folder)
    known: dict[str, Any] = _mark_of(mark) or {"schema": _SCHEMA, "facts": facts, "shapes": {}}
    if known["facts"] != facts:
        differing = [key for key in facts if known["facts"].get(key) != facts[key]]
        raise UserError(f"the signal cache {folder} is of another {' and '.join(differing)}; remove the folder, and it is made anew")
    teacher: Teacher | None = None
    train = data.indices["train"]
    unknown = sorted(signals - known["shapes"].keys())
    if unknown:
        # Two samples tell the shapes.
        teacher = make_teacher(sorted(signals))
        probe = teacher(data.batch(train[:2], 0).inputs)
        known["shapes"] |= {name: list(probe[name].shape[1:]) for name in unknown}
        write_json(mark, known)
    encodings = {name: encoding_of(known["shapes"][name], options, scores=name in scores, seed=seed) for name in sorted(signals)}
    names = [(signal, view) for view in range(count) for signal in encodings]
    paths = {name: folder / f"view-{name[1]}.{name[0].replace(':', '-')}.{encodings[name[0]].tag}" for name in names}
    _check_disk(paths, {name: len(train) * encodings[name[0]].dtype.itemsize for name in names}, folder)
    arrays = {name: _Rows(path, len(train), encodings[name[0]].dtype) for name, path in paths.items()}
    work = [(view, chunk) for view in range(count) for chunk in sorted(set().union(*(arrays[s, view].missing for s in encodings)))]
    if work:
        teacher = teacher or make_teacher(sorted(signals))
        if "threads" not in known:
            first = data.batch(train[:batch_size], 0).inputs
            known["threads"] = chosen("teacher signals", functools.partial(teacher, first), asked=threads)
            write_json(mark, known)
        saved = time.monotonic()
        try:
            with using(known["threads"]), track("teacher signals", len(work)) as progress:
                chunks = [(train[c * _CHUNK_ROWS : (c + 1) * _CHUNK_ROWS], view) for view, c in work]
                encoded = _encoded(teacher, data, chunks, batch_size, encodings)
                for (view, chunk), rows in zip(work, encoded, strict=True):
                    for signal in encodings:
                        arrays[signal, view].write(chunk, rows[signal])
                    progress.advance(1, view=view)
                    # Each save waits for the disk, so that a small teacher would do little else.
                    if time.monotonic() - saved > _SAVE_EVERY_S:
                        _save(arrays)
                        saved = time.monotonic()
        finally:
            _save(arrays)
    position = np.full(len(data), -1)
    position[train] = np.arange(len(train))
    for file in arrays.values():
        file.close()
    return CachedSignals({name: Rows.raw(paths[name], encodings[name[0]].dtype, len(train)) for name in names}, encodings, position)


def _encoded(
    teacher: Teacher, data: Dataset, chunks: Sequence[tuple[np.ndarray, int]], batch_size: int, encodings: dict[str, Encoding]
) -> Iterator[dict[str, np.ndarray]]:
    """The encoded signals of each chunk of samples in a view. Answers are encoded batch by batch: those of a chunk may fill the memory."""
    requests = [
        [Request(indices[start : start + batch_size], view) for start in range(0, len(indices), batch_size)] for indices, view in chunks
    ]
    batches = Loader(data).batches([request for chunk in requests for request in chunk])
    for (_, view), chunk in zip(chunks, requests, strict=True):
        parts: dict[str, list[np.ndarray]] = {name: [] for name in encodings}
        for request in chunk:
            answers = teacher(next(batches).inputs)
            for name, encoding in encodings.items():
                values = answers[name].cpu().numpy()
                _check_numbers(values, name, view)
                parts[name].append(encoding.encode(values, request.indices, view))
        yield {name: np.concatenate(rows) for name, rows in parts.items()}


def _check_numbers(values: np.ndarray, name: str, view: int) -> None:
    # -inf is the logit of a class that a specialist does not know.
    if np.isnan(values).any() or np.isposinf(values).any() or not np.isfinite(values).any(axis=-1).all():
        raise UserError(f"the teacher answered NaN or infinity ({name}, view {view}); check its checkpoint, mean and std")


def _check_disk(paths: dict[tuple[str, int], Path], sizes: dict[tuple[str, int], int], folder: Path) -> None:
    """Say how large a cache will be that is not there yet; StorageFailed where the disk has no room for it."""
    # Of a file that was begun, what is written counts: a file of holes has its whole length from the start.
    needed = sum(max(0, size - (paths[name].stat().st_blocks * 512 if paths[name].exists() else 0)) for name, size in sizes.items())
    if not needed:
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageFailed(
            f"the signal cache needs {needed / 1e6:.3g} MB in {folder}, and {free / 1e6:.3g} MB are free; free some, and the same command "
            "continues, or lower data.views, set distill.cache.top_k, choose another --runs-dir, or set online: true in the stages"
        )
    if needed > 100e6:
        log(f"the signal cache takes {needed / 1e6:.0f} MB of {free / 1e6:.0f} MB that are free")


def _save(arrays: dict[tuple[str, int], "_Rows"]) -> None:
    for rows in arrays.values():
        rows.save()


class _Rows:
    """Rows of one signal in one view: a raw file, and beside it a checksum for each chunk of rows that is done."""

    def __init__(self, path: Path, rows: int, dtype: np.dtype) -> None:
        self.path, self.rows, self.dtype = path, rows, dtype
        self.sums_path = path.with_name(path.name + ".json")
        # A file and no memory map: to write to the map of a full disk would end the process.
        self.file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115
        self.sums: dict[str, str] = _read(self.sums_path)
        chunks = [str(chunk) for chunk in range(-(-rows // _CHUNK_ROWS))]
        good = {chunk for chunk in chunks if chunk in self.sums and self.sums[chunk] == self._sum(int(chunk))}
        damaged = [chunk for chunk in chunks if chunk in self.sums and chunk not in good]
        if damaged:
            log(f"signal cache: {len(damaged)} of {len(chunks)} parts of {path.name} are damaged and made again")
        self.sums = {chunk: self.sums[chunk] for chunk in good}
        self.changed = False
        self.missing = [int(chunk) for chunk in chunks if chunk not in good]

    def write(self, chunk: int, values: np.ndarray) -> None:
        """Set the rows of a chunk."""
        data = np.ascontiguousarray(values, self.dtype.base).tobytes()
        self.file.seek(chunk * _CHUNK_ROWS * self.dtype.itemsize)
        self.file.write(data)
        self.file.flush()
        self.sums[str(chunk)] = _sum(data)
        self.changed = True

    def save(self) -> None:
        """Write what was set to the disk, rows first and then their checksums."""
        if self.changed:
            os.fsync(self.file.fileno())
            write_json(self.sums_path, self.sums)
            self.changed = False

    def close(self) -> None:
        """To be called when every chunk is written."""
        self.file.truncate(self.rows * self.dtype.itemsize)
        self.file.close()

    def _sum(self, chunk: int) -> str:
        """The checksum of what is in the file now."""
        self.file.seek(chunk * _CHUNK_ROWS * self.dtype.itemsize)
        return _sum(self.file.read(min(_CHUNK_ROWS, self.rows - chunk * _CHUNK_ROWS) * self.dtype.itemsize))


def _sum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _mark_of(path: Path) -> dict[str, Any] | None:
    """What the mark of a cache says; None where it is none, or was cut off."""
    mark = _read(path)
    return mark if isinstance(mark.get("facts"), dict) and isinstance(mark.get("shapes"), dict) else None


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, or where it was cut off and is no JSON."""
    try:
        content = read_json(path)
    except DamagedFile:
        return {}
    return content if isinstance(content, dict) else {}
