"""What goes into a model and what comes out, by name: inputs from files, one sample at a time, and outputs that are what was promised.

Sample i of an array is `a[i : i + 1]` where the
first size of the shape is 1, which is the batch, and `a[i]` elsewhere.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edgedistill.measure.runner.job_types import Spec
from edgedistill.measure.runner.records import Recorder

Arrays = dict[str, np.ndarray]
Forward = Callable[[Arrays], Arrays]


class Samples:
    """The samples in a file for each input, in the order of the specs."""

    def __init__(self, paths: Mapping[str, str], specs: list[Spec]) -> None:
        if missing := [spec["name"] for spec in specs if spec["name"] not in paths]:
            raise ValueError(f"found inputs {', '.join(paths) or 'none'}, expected also {', '.join(missing)}")
        self._arrays: list[tuple[str, np.ndarray, bool]] = []
        for spec in specs:
            path = paths[spec["name"]]
            # The same memory as a plain array: each slice of a memory map runs Python code, which pushes the model out of the caches.
            array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            batched = is_batched(spec)
            if not len(array.shape) or len(array) == 0 or not fits(spec, array.dtype, (1,) * batched + array.shape[1:]):
                rows = f"{spec['dtype']}[N{''.join(f',{size}' for size in spec['shape'][batched:])}]"
                raise ValueError(f"{path}: expected {rows} with N > 0 for the input {spec['name']}, found {text_of(array)}")
            self._arrays.append((spec["name"], array, batched))
        if len(counts := {len(array) for _, array, _ in self._arrays}) != 1:
            raise ValueError(f"found {sorted(counts)} samples for the inputs, expected the same number for each")
        (self._count,) = counts

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Arrays:
        # Copied here, so that reading the file is not timed and the runtime gets aligned, writable memory.
        return {name: np.array(array[index : index + 1] if batched else array[index]) for name, array, batched in self._arrays}


class Promised:
    """Outputs held to their specs; a size that varies is that of the first sample."""

    def __init__(self, specs: list[Spec]) -> None:
        self._specs = [spec.copy() for spec in specs]

    def checked(self, outputs: Arrays, index: int) -> Arrays:
        """Return `outputs` if they are what was promised, and finite; whatever else a runtime answers is an error that names the sample."""
        if set(outputs) != {spec["name"] for spec in self._specs}:
            expected = ", ".join(spec["name"] for spec in self._specs)
            raise ValueError(f"sample {index}: expected the outputs {expected}, found {', '.join(outputs) or 'none'}")
        for spec in self._specs:
            output = outputs[spec["name"]]
            what = f"output {spec['name']} of sample {index}"
            if not isinstance(output, np.ndarray) or not fits(spec, output.dtype, output.shape):
                expected = f"{spec['dtype']}[{','.join(map(str, spec['shape']))}]"
                raise ValueError(f"{what}: expected {expected}, found {text_of(output)}")
            if output.dtype.kind == "f" and (bad := int(np.count_nonzero(~np.isfinite(output)))):
                raise ValueError(f"{what}: {bad} of {output.size} values are NaN or infinite")
            spec["shape"] = [*output.shape]
        return outputs

    def write(self, forward: Forward, samples: Samples, paths: Mapping[str, str], recorder: Recorder) -> None:
        """Run all samples, and write a file [N, ...] and a record for each output. The first sample was checked before."""
        rows: Arrays = {}
        batched = {spec["name"]: is_batched(spec) for spec in self._specs}
        for spec in self._specs:
            shape = spec["shape"][1:] if batched[spec["name"]] else spec["shape"]
            rows[spec["name"]] = np.empty((len(samples), *map(int, shape)), spec["dtype"])
        for index in range(len(samples)):
            for name, output in self.checked(forward(samples[index]), index).items():
                rows[name][index] = output[0] if batched[name] else output
        for name, array in rows.items():
            path = Path(paths[name])
            digest = _write(path, array)
            recorder.write("output", name=name, path=str(path), sha256=digest, shape=list(array.shape), dtype=str(array.dtype))


def is_batched(spec: Spec) -> bool:
    """Whether the first size of a spec is a batch of one."""
    return len(spec["shape"]) > 0 and spec["shape"][0] == 1


def fits(spec: Spec, dtype: np.dtype, shape: tuple[int, ...]) -> bool:
    """Whether an array of that type and shape is what the spec says; a size that varies fits any."""
    sizes = spec["shape"]
    return (
        dtype == spec["dtype"] and len(shape) == len(sizes) and all(isinstance(s, str) or s == n for s, n in zip(sizes, shape, strict=True))
    )


def text_of(array: object) -> str:
    """An array in a few words, as float32[1,10]; of anything else its type."""
    return f"{array.dtype}[{','.join(map(str, array.shape))}]" if isinstance(array, np.ndarray) else type(array).__name__


def _write(path: Path, array: np.ndarray) -> str:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as handle:
        np.save(handle, array)
        handle.flush()
        os.fsync(handle.fileno())
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    os.replace(temporary, path)
    return digest
