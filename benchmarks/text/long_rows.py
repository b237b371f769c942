"""Rows whose right answer is long and can be judged exactly: a rota of a week, and how it goes on for some weeks, as JSON.

A small decoder learns it in minutes: each entry stands a week before, and the day is counted. A mistake is copied into later weeks.
"""

from __future__ import annotations

import json
import random
from typing import Any

FIELDS = {
    "who": (
        "Anna",
        "Ben",
        "Carla",
        "David",
        "Elif",
        "Femi",
        "Grace",
        "Hiro",
        "Ines",
        "Jonas",
        "Kofi",
        "Lena",
        "Mei",
        "Nadia",
        "Omar",
        "Rosa",
    ),
    "task": ("bake", "clean", "cook", "dust", "fetch", "iron", "mend", "mow", "paint", "shop", "sweep", "wash"),
}
WEEK, DAYS = 7, 42
"""Days of a prompt, and of a whole answer."""
SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": DAYS,
    "maxItems": DAYS,
    "items": {
        "type": "object",
        "properties": {"day": {"type": "integer"}, **{name: {"enum": [*words]} for name, words in FIELDS.items()}},
        "required": ["day", *FIELDS],
        "additionalProperties": False,
    },
}


def row(number: int, days: int = DAYS) -> dict[str, str]:
    """Row `number`: a prompt with the days of a week, and the answer with so many days behind them; compact JSON both."""
    r = random.Random(number)
    week = [{name: r.choice(words) for name, words in FIELDS.items()} for _ in range(WEEK)]
    rota = [{"day": day + 1, **week[day % WEEK]} for day in range(WEEK + days)]
    said, answer = (json.dumps(part, separators=(",", ":")) for part in (rota[:WEEK], rota[WEEK:]))
    return {"prompt": said, "completion": answer}
