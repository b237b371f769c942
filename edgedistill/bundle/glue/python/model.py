"""Loads an artifact of a bundle and runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from .bundle_folder import Bundle
from .errors import BundleError, Cancelled, Closed, InputError, RuntimeFailed, RuntimeMissing
from .self_test import SelfTest, compare

Arrays = Mapping[str, np.ndarray]
"""Tensors by name."""


@dataclass(frozen=True)
class Info:
    """What runs: the artifact, its runtime and version, and what computes it."""

    artifact: str
    runtime: str
    version: str
    delegate: str


class Model:
    """A loaded model. Use it in a `with` block, or call `close` at the end. Calls from several threads run one after the other."""

    runtimes: ClassVar[Mapping[str, str]] = {}
    """Module of this package for each format of artifacts that it runs."""

    def __init__(self, bundle: Bundle, entry: Mapping[str, Any], threads: int) -> None:
        self.bundle, self.entry = bundle, entry
        self._check()
        module = import_module(f".{self.runtimes[entry['format']]}", __package__)
        path = bundle.checked(entry["name"])
        names = [[spec["name"] for spec in entry["signature"][kind]] for kind in ("inputs", "outputs")]
        try:
            self._run, delegate = module.load(str(path), threads, *names)
        except Exception as error:
            # Runtimes raise errors of many types.
            raise RuntimeFailed(f"{module.NAME} {module.version()} can't load {entry['name']}: {error}") from error
        self.info = Info(entry["name"], module.NAME, module.version(), delegate)
        # What a call compares with, made once: a shape is None where a size varies.
        self._expected = {
            spec["name"]: (np.dtype(spec["dtype"]), None if any(isinstance(n, str) for n in spec["shape"]) else tuple(spec["shape"]))
            for spec in entry["signature"]["inputs"]
        }
        self._lock, self._open = threading.Lock(), True

    @classmethod
    def load(cls, folder: str | Path, *, artifact: str | None = None, threads: int = 1, public_key: bytes | None = None) -> Self:
        """Load a model from a bundle.

        Args:
            folder: The folder of the bundle.
            artifact: Name of the artifact; by default the first of the manifest's `ship.order` whose runtime is installed.
            threads: Threads that the runtime may use.
            public_key: 32 bytes of an Ed25519 key; with it the bundle has to be signed.

        Raises:
            BundleError: A file of the bundle is missing, changed or not signed.
            RuntimeMissing: No runtime for it is installed, or it is too old.
            RuntimeFailed: The runtime can't load the file.
        """
        bundle = Bundle(folder, public_key)
        return cls(bundle, cls._chosen(bundle, artifact), threads)

    @classmethod
    def _chosen(cls, bundle: Bundle, artifact: str | None) -> Mapping[str, Any]:
        entries: dict[str, Mapping[str, Any]] = {entry["name"]: entry for entry in bundle.manifest["artifacts"]}
        if artifact is not None and artifact not in entries:
            raise BundleError(f"found no artifact {artifact}, expected one of {', '.join(entries)}")
        refused = []
        for name in [artifact] if artifact else bundle.manifest["ship"]["order"]:
            if (why := cls._why_not(bundle, entries[name])) is None:
                return entries[name]
            refused.append(f"{name}: {why}")
        raise RuntimeMissing("no artifact of the bundle can run here. " + "; ".join(refused or ["the bundle ships none"]))

    @classmethod
    def _why_not(cls, bundle: Bundle, entry: Mapping[str, Any]) -> str | None:
        if entry["format"] not in cls.runtimes:
            return f"this package has no runtime for {entry['format']}"
        module = import_module(f".{cls.runtimes[entry['format']]}", __package__)
        try:
            found = module.version()
        except ImportError as error:
            return f"{error}; install it with `pip install {module.PACKAGE}`"
        # Most runtimes have all that a file may name.
        lacks: Callable[[str], str | None] = getattr(module, "lacks", lambda path: None)
        if (why := lacks(str(bundle.path(entry["name"])))) is not None:
            return why
        needed = entry["minimum_runtime"].get(module.NAME)
        if needed is not None and _numbers(found) < _numbers(needed):
            # Told, and not passed over: another artifact may be slower or less accurate.
            raise RuntimeMissing(f"{entry['name']} can't run here: found {module.NAME} {found}, expected {needed} or later; update it")
        return None

    def _check(self) -> None:
        """Raise BundleError where parts of the manifest do not fit each other."""

    def run(self, inputs: Arrays, *, cancelled: Callable[[], bool] | None = None) -> dict[str, np.ndarray]:
        """Run the model once.

        Args:
            inputs: An array for each input, of the type and shape in the manifest.
            cancelled: Asked before and after the run; where it gives True, Cancelled is raised.

        Returns:
            An array for each output, by name.
        """
        self._check_inputs(inputs)
        _check_cancelled(cancelled)
        with self._lock:
            if not self._open:
                raise Closed(f"{self.info.artifact} was closed; load it again")
            try:
                outputs: dict[str, np.ndarray] = self._run(inputs)
            except Exception as error:
                raise RuntimeFailed(f"{self.info.runtime} {self.info.version} can't run {self.info.artifact}: {error}") from error
        _check_cancelled(cancelled)
        return outputs

    def _check_inputs(self, inputs: Arrays) -> None:
        if inputs.keys() != self._expected.keys():
            raise InputError(f"found the inputs {', '.join(sorted(inputs)) or 'none'}, expected {', '.join(self._expected)}")
        for name, (dtype, shape) in self._expected.items():
            array = inputs[name]
            if getattr(array, "dtype", None) != dtype or array.shape != shape:
                _check_array(array, next(spec for spec in self.entry["signature"]["inputs"] if spec["name"] == name))

    def warm_up(self, times: int = 3) -> None:
        """Run on zeros, so that the first real call takes no longer than others."""
        zeros = {spec["name"]: np.zeros(_sizes(spec), spec["dtype"]) for spec in self.entry["signature"]["inputs"]}
        for _ in range(times):
            self.run(zeros)

    def self_test(self) -> SelfTest:
        """Run the golden inputs of the bundle here, and compare with what the artifact gave where it was exported."""
        golden = self.entry["golden"]
        if golden["outputs"] is None:
            raise BundleError(f"the bundle has no golden outputs of {self.info.artifact}: nothing executed it where it was exported")
        inputs, expected = ({k: self.bundle.array(file["path"]) for k, file in golden[kind].items()} for kind in ("inputs", "outputs"))
        found: dict[str, list[np.ndarray]] = {name: [] for name in expected}
        for sample in range(golden["count"]):
            outputs = self.run({spec["name"]: _as_batch(inputs[spec["name"]][sample], spec) for spec in self.entry["signature"]["inputs"]})
            for name, values in found.items():
                values.append(outputs[name].reshape(expected[name].shape[1:]))
        return compare(self.info, {k: np.stack(v) for k, v in found.items()}, expected, golden["tolerance"])

    def close(self) -> None:
        """Free the runtime's memory. A second call does nothing."""
        with self._lock:
            self._open, self._run = False, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_cancelled(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled("the call was cancelled")


def _check_array(array: np.ndarray, spec: Mapping[str, Any]) -> None:
    sizes, shape = spec["shape"], getattr(array, "shape", None)
    fits = shape is not None and len(shape) == len(sizes) and all(isinstance(s, str) or s == n for s, n in zip(sizes, shape, strict=True))
    if not fits or str(array.dtype) != spec["dtype"]:
        found = f"{array.dtype}{list(shape)}" if shape is not None else type(array).__name__
        raise InputError(f"found {found} for the input {spec['name']}, expected {spec['dtype']}{sizes}")


def _as_batch(sample: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
    """A sample with the dimension of the batch, where the input has one."""
    return np.ascontiguousarray(sample[None] if sample.ndim < len(spec["shape"]) else sample)


def _sizes(spec: Mapping[str, Any]) -> list[int]:
    return [1 if isinstance(size, str) else size for size in spec["shape"]]


def _numbers(version: str) -> list[int]:
    """The leading numbers of a version, so that 1.10 is newer than 1.9."""
    numbers = []
    for part in version.split("+", maxsplit=1)[0].split("."):
        digits = "".join(char for char in part if char.isdigit())
        if not part[:1].isdigit():
            break
        numbers.append(int(digits))
    return numbers
