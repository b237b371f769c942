"""Sounds that a formula makes: energies of 8 bands in 16 frames, four numbers of the speaker, three states and a level."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from edgedistill.files import canonical_hash, sha256_tree
from edgedistill.tasks.data import SPLITS, Batch, DataFacts
from toykit.task import BANDS, FRAMES_OF_A_SOUND, STATES, Data


class MadeSounds:
    """As many as the recipe says."""

    def __init__(self, data: Data) -> None:
        self.data = data

    @property
    def fingerprint(self) -> str:
        """Changes with their number."""
        return canonical_hash(["toykit sounds 1", self.data.samples])

    def prepare(self, folder: Path, seed: int) -> DataFacts:
        """Write them as arrays; the last frame of every fourth sound has no target."""
        draw, n = np.random.default_rng(seed), self.data.samples
        states = np.repeat(draw.integers(0, STATES, (n, FRAMES_OF_A_SOUND // 4)), 4, axis=1)
        speaker = draw.normal(size=(n, 4)).astype(np.float32)
        sound = draw.normal(scale=0.4, size=(n, BANDS, FRAMES_OF_A_SOUND)).astype(np.float32)
        for state in range(STATES):
            sound[:, 2 * state : 2 * state + 2] += (states == state)[:, None].astype(np.float32)
        level = sound.mean(axis=(1, 2))[:, None] + 0.5 * speaker[:, :1]
        states[::4, -1] = -1
        split = draw.choice(3, n, p=[1 - self.data.split.val - self.data.split.holdout, self.data.split.val, self.data.split.holdout])
        for name, array in {"sound": sound, "speaker": speaker, "states": states, "level": level, "split": split}.items():
            np.save(folder / f"{name}.npy", array)
        return _facts(folder)


def _facts(folder: Path) -> DataFacts:
    split = np.load(folder / "split.npy")
    splits = {name: int((split == number).sum()) for number, name in enumerate(SPLITS)}
    return DataFacts(source="made sounds", sha256=sha256_tree(folder), splits=splits)


class FramesDataset:
    """The arrays in a folder."""

    def __init__(self, folder: Path) -> None:
        self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("sound", "speaker", "states", "level")}
        split = np.load(folder / "split.npy")
        self.indices: Mapping[str, np.ndarray] = {name: np.flatnonzero(split == number) for number, name in enumerate(SPLITS)}
        self.facts = _facts(folder)
        self.fields: Mapping[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.arrays["sound"])

    @property
    def has_target(self) -> np.ndarray:
        """All have targets."""
        return np.ones(len(self), bool)

    def batch(self, indices: np.ndarray, view: int | None, *, keep: bool = True) -> Batch:
        """A view adds noise to the sounds."""
        inputs = {name: torch.from_numpy(value) for name, value in self.inputs(indices).items()}
        if view is not None:
            noise = np.stack([np.random.default_rng([view, int(i)]).normal(size=(BANDS, FRAMES_OF_A_SOUND)) for i in indices])
            inputs["sound"] = inputs["sound"] + 0.1 * torch.from_numpy(noise.astype(np.float32))
        targets = {name: torch.from_numpy(value) for name, value in self.targets(indices).items()}
        return Batch(inputs, targets, {"states": targets["states"] >= 0})

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The sounds and their speakers."""
        return {name: np.array(self.arrays[name][indices]) for name in ("sound", "speaker")}

    def targets(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The states, -1 for none, and the levels."""
        return {name: np.array(self.arrays[name][indices]) for name in ("states", "level")}
