"""The labelled texts of a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import sha256_tree, write_arrays
from edgedistill.recipe.data import MAIN
from edgedistill.tasks.data import Watch
from edgedistill.tasks.text.source import TextSource
from edgedistill.tasks.text_classification.recipe import Data
from edgedistill.tasks.text_classification.task import TextFacts

TARGET = "logits"


class LabelledTexts(TextSource):
    """What the data part of a recipe names, see `TextSource`."""

    data: Data

    def prepare(self, folder: Path, seed: int, watch: Watch | None = None) -> TextFacts:
        """Write tokens, labels and splits into `folder`. Raises UserError that names the rows without a text."""
        labels, split, classes = self._labels()
        split = self.watched(self.divided(split, seed, labels, classes if (labels >= 0).any() else []), watch)
        known = self.write(split, folder, watch)
        write_arrays(folder, {TARGET: labels})
        facts = TextFacts(**known, sha256=sha256_tree(folder), classes=classes, unlabelled=int((labels < 0).sum()))
        facts.write(folder)
        return facts

    def _labels(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Label int64 [N], -1 for none, and split int8 [N], -1 for none, of each row, and the names of the labels."""
        numbers, labels = dict[str, int](), list[np.ndarray]()

        def see(values: list[str | None]) -> None:
            labels.append(np.array([-1 if value is None else numbers.setdefault(value, len(numbers)) for value in values], np.int64))

        given = self.data.classes
        if given is not None and self.data.label not in self.table.columns:
            split = self.splits()
            return np.full(len(split), -1, np.int64), split, given
        split = self.splits(self.data.label, see)
        if given is not None:
            # Labels of datasets are often the numbers of the outputs.
            known = {**{str(number): number for number in range(len(given))}, **{name: number for number, name in enumerate(given)}}
            if unknown := [name for name in numbers if name not in known]:
                found = f"{self.table.name}: found the label '{unknown[0]}' in {self.data.label}"
                raise UserError(f"{found}, expected one of {', '.join(given[:20])}; or remove the column")
            return np.array([*(known[name] for name in numbers), -1])[np.concatenate(labels)], split, given
        if self.sets is not None:
            self._check_labels_of_sets(np.concatenate(labels), list(numbers), self.sets)
        if len(numbers) < 2:
            raise UserError(f"{self.table.name}: found {len(numbers)} label(s) in {self.data.label}, expected at least 2 different ones")
        names = self.table.names(self.data.label) or _sorted(list(numbers))
        places = np.array([*(names.index(name) for name in numbers), -1])
        return places[np.concatenate(labels)], split, names

    def _check_labels_of_sets(self, labels: np.ndarray, names: list[str], sets: np.ndarray) -> None:
        """Raise UserError where a set has a label that the data do not have: a model would get another output by a typing error."""
        known = set(labels[sets == MAIN].tolist())
        if wrong := [row for row, label in enumerate(labels.tolist()) if label >= 0 and label not in known]:
            found = f"the set {sets[wrong[0]]}: found the label '{names[labels[wrong[0]]]}' in {self.data.label}"
            raise UserError(f"{found}, expected one of {', '.join(names[label] for label in sorted(known)[:20])}, as in the data")


def _sorted(names: list[str]) -> list[str]:
    """Names in the order of their numbers where all are whole numbers, and of their letters else."""
    return sorted(names, key=int) if all(name.lstrip("-").isdigit() for name in names) else sorted(names)
