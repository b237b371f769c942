"""One answer from several teachers, and how far they disagree."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from edgedistill.errors import UserError
from edgedistill.files import read_array, write_array
from edgedistill.recipe.schema import Recipe
from edgedistill.records import Disagreement, Unavailable
from edgedistill.tasks.data import Dataset
from edgedistill.tasks.image_classification.recipe.teachers import Merge, Route, SeveralTeachers, Weights
from edgedistill.tasks.image_classification.teachers import outputs_of

_FLOOR = 10.0
_WEIGHTS = "weights.npy"
_JENSEN_SHANNON = "Jensen-Shannon divergence, nats"


def merged(logits: list[np.ndarray], weights: np.ndarray | None) -> np.ndarray:
    """Merge members' logits [B, C] each, -inf for classes that a member does not know, into one [B, C].

    weights: float [members, B] of each answer, None for the member of the highest confidence.

    Members that know every class are averaged as probabilities: the log of the weighted mean of their softmax. Specialists are merged
    class by class: the weighted mean of the logits of those that know it, since a probability among a few classes says nothing
    of the others; so disjoint specialists become one long vector of logits.
    """
    stacked = np.stack(logits)
    if weights is None:
        confidence = _softmax(stacked).max(axis=2)
        weights = (np.arange(len(stacked))[:, None] == confidence.argmax(axis=0)).astype(float)
    known = np.isfinite(stacked)
    share = weights[:, :, None] * known
    if known.all():
        return np.log(np.maximum((share * _softmax(stacked)).sum(axis=0) / share.sum(axis=0), 1e-30)).astype(np.float32)
    total = share.sum(axis=0)
    summed = (share * np.where(known, stacked, 0)).sum(axis=0) / np.where(total > 0, total, 1)
    # A class that no chosen member knows is far below the others, and finite, as losses need it.
    lowest = np.where(total > 0, summed, np.inf).min(axis=1, keepdims=True)
    return np.where(total > 0, summed, lowest - _FLOOR).astype(np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    from scipy import special

    return special.softmax(logits.astype(np.float64), axis=-1)


def learned_weights(logits: list[np.ndarray], labels: np.ndarray, steps: int = 200) -> np.ndarray:
    """Weights [members] of the mean of probabilities that has the highest likelihood.

    logits: [N, C] of each member and labels int64 [N] of images that trained nothing (val). Expectation-maximisation for the
    proportions of a mixture, whose likelihood has one maximum (Dempster, Laird and Rubin 1977, section 4.3).
    """
    at_label = np.stack([_softmax(x)[np.arange(len(labels)), labels] for x in logits]) + 1e-12
    weights = np.full(len(logits), 1 / len(logits))
    for _ in range(steps):
        responsible = weights[:, None] * at_label
        weights = (responsible / responsible.sum(axis=0)).mean(axis=1)
    return weights


def check_known(known: np.ndarray, classes: list[str]) -> None:
    """UserError for a class that no teacher knows. known: bool [members, C]."""
    if lost := [classes[i] for i in np.flatnonzero(~known.any(axis=0))]:
        raise UserError(f"no teacher knows the class {', '.join(lost[:10])}; add a teacher of it, or remove the class from the data")


class Merger:
    """Merges the answers of the members of a recipe's teacher.

    names: of the members; known: bool [members, C], whether each knows a class; fields: of the data, by name, [N].
    """

    def __init__(self, how: Merge, names: list[str], known: np.ndarray, fields: Mapping[str, np.ndarray]) -> None:
        self.how, self.names = how, names
        if how == "learned" and not known.all():
            raise UserError("merge: learned needs teachers that know every class; use mean, confidence or a field for specialists")
        self.weights = np.ones(len(names))
        if isinstance(how, Weights):
            self.weights = np.array([how.weights[name] for name in names])
        self.routes = _routes(how, names, fields) if isinstance(how, Route) else None

    def learn(self, answers: list[dict[str, np.ndarray]], targets: Mapping[str, np.ndarray]) -> None:
        """Fit the weights on val where the recipe says so."""
        if self.how == "learned":
            self.weights = learned_weights([answer["logits"] for answer in answers], targets["logits"])

    def __call__(self, answers: list[dict[str, np.ndarray]], indices: np.ndarray) -> dict[str, np.ndarray]:
        """One answer of the members' logits [B, C] to the samples `indices` [B]."""
        return {"logits": self._merged([answer["logits"] for answer in answers], indices)}

    def _merged(self, logits: list[np.ndarray], indices: np.ndarray) -> np.ndarray:
        if self.how == "confidence":
            return merged(logits, None)
        weights = np.repeat(self.weights[:, None], len(indices), axis=1)
        if self.routes is not None:
            weights = (np.arange(len(self.names))[:, None] == self.routes[indices]).astype(float)
        return merged(logits, weights)

    def save(self, folder: Path) -> None:
        """Write the weights."""
        write_array(folder / _WEIGHTS, self.weights)

    def load(self, folder: Path) -> None:
        """Read the weights."""
        self.weights = read_array(folder / _WEIGHTS)

    def facts(self) -> dict[str, JsonValue]:
        """What a report says of it."""
        if self.how == "confidence" or self.routes is not None:
            return {"weights": None}
        return {"weights": dict(zip(self.names, (self.weights / self.weights.sum()).tolist(), strict=True))}


def merger_of(recipe: Recipe, dataset: Dataset, classes: list[str]) -> Merger | None:
    """The merger of a recipe with several teachers, or None; UserError for a class that no teacher knows."""
    known = np.stack([outputs_of(member, classes).known for member in recipe.members])
    check_known(known, classes)
    if not isinstance(recipe.teacher, SeveralTeachers):
        return None
    return Merger(recipe.teacher.merge, [member.name for member in recipe.members], known, dataset.fields)


def _routes(how: Route, names: list[str], fields: Mapping[str, np.ndarray]) -> np.ndarray:
    """The member's number for each sample, int [N]."""
    if how.field not in fields:
        raise UserError(
            f"merge.field: the data has no field '{how.field}', expected one of {', '.join(fields) or 'none: it has no fields'}"
        )
    values = [str(value) for value in fields[how.field].tolist()]
    if unrouted := sorted({value for value in values if value not in how.to} if how.otherwise is None else ()):
        raise UserError(f"merge.to: no teacher for {how.field} {', '.join(unrouted[:10])}; add it, or say otherwise: NAME")
    return np.array([names.index(how.to.get(value, how.otherwise or "")) for value in values])


def disagreement(logits: dict[str, np.ndarray]) -> list[Disagreement]:
    """For each pair of members: how many samples, the share on which they choose different classes, and how far apart they are.

    logits: [N, C] by member. Beside the share stand the number of classes that both know, and over these Jensen-Shannon's divergence,
    averaged, in nats, 0 to log 2.
    """
    from itertools import combinations

    disagreements = []
    for a, b in combinations(logits, 2):
        both = np.isfinite(logits[a]).all(axis=0) & np.isfinite(logits[b]).all(axis=0)
        known = {"classes that both know": float(both.sum())}
        if both.sum() < 2:
            none = Unavailable(unavailable="they have fewer than two classes in common")
            disagreements.append(Disagreement(a=a, b=b, n=len(logits[a]), share=none, further=known))
            continue
        p, q = _softmax(logits[a][:, both]), _softmax(logits[b][:, both])
        middle = (p + q) / 2
        divergence = sum((x * np.log(np.maximum(x, 1e-30) / np.maximum(middle, 1e-30))).sum(axis=1) for x in (p, q)) / 2
        share = float((p.argmax(axis=1) != q.argmax(axis=1)).mean())
        known[_JENSEN_SHANNON] = float(divergence.mean())
        disagreements.append(Disagreement(a=a, b=b, n=len(logits[a]), share=share, further=known))
    return disagreements
