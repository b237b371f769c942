"""Sounds that a formula makes: energies of 8 bands in 16 frames, four numbers of the speaker, three states and a level."""

from pathlib import Path

import numpy as np

from edgedistill.files import canonical_hash
from edgedistill.tasks import arrays
from edgedistill.tasks.data import DataFacts
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
        every = {"sound": sound, "speaker": speaker, "states": states, "level": level}
        digest, splits = arrays.write(folder, every, arrays.drawn(n, self.data.split, seed))
        facts = DataFacts(source="made sounds", sha256=digest, splits=splits)
        facts.write(folder)
        return facts


class Sounds(arrays.ArrayDataset):
    """The sounds of a run; a view adds noise to them, and frames without a state do not count."""

    def view(self, inputs: dict[str, np.ndarray], indices: np.ndarray, view: int) -> dict[str, np.ndarray]:
        """The sounds with noise that the view and the sample determine."""
        noise = np.stack([np.random.default_rng([view, int(i)]).normal(size=(BANDS, FRAMES_OF_A_SOUND)) for i in indices])
        return inputs | {"sound": inputs["sound"] + 0.1 * noise.astype(np.float32)}

    def mask(self, targets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The frames with a state."""
        return {"states": targets["states"] >= 0}
