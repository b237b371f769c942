"""How well personal data are found: recall and precision on texts whose personal data are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from edgedistill.teach.scrub.base import Finding, Scrubber


def judged(
    scrubber: Scrubber, texts: Iterable[tuple[str, Sequence[Finding]]]
) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]], list[tuple[str, str, str]]]:
    """Recall and precision by kind, each as (right, of how many), and what was wrong as (missed or false, kind, value).

    A known value is found where findings cover all its letters and digits, since what is left over leaks. A finding is right where most of
    its letters and digits are of known values. Values count under their known kind, findings under that of the finding.
    """
    known, found, wrong = Counter[tuple[str, bool]](), Counter[tuple[str, bool]](), list[tuple[str, str, str]]()
    for text, expected in texts:
        findings = scrubber.find(text)
        covered = {place for one in findings for place in range(one.start, one.end)}
        true = {place for one in expected for place in range(one.start, one.end)}
        for one in expected:
            right = all(place in covered for place in range(one.start, one.end) if text[place].isalnum())
            known[one.kind, right] += 1
            wrong += [] if right else [("missed", one.kind, text[one.start : one.end])]
        for one in findings:
            places = [place for place in range(one.start, one.end) if text[place].isalnum()]
            right = 2 * sum(place in true for place in places) > len(places)
            found[one.kind, right] += 1
            wrong += [] if right else [("false", one.kind, text[one.start : one.end])]
    return _shares(known), _shares(found), wrong


def _shares(counts: Counter[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    kinds = sorted({kind for kind, _ in counts})
    return {kind: (counts[kind, True], counts[kind, True] + counts[kind, False]) for kind in kinds}
