"""The server of a review: pairs as each reviewer sees them, and what is said of them. It never says who wrote an answer."""

from __future__ import annotations

import base64
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from edgedistill.gate.review.guard import Guard
from edgedistill.gate.review.order import Place, order
from edgedistill.gate.review.rubric import RUBRICS
from edgedistill.gate.review.store import Judgement

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from edgedistill.gate.review.store import Store

_PAGE = Path(__file__).parent / "page"
_FILES = {"/": ("page.html", "text/html"), "/page.css": ("page.css", "text/css"), "/page.js": ("page.js", "text/javascript")}
NOTE = 2000
"""Most characters of a note."""


class Said(BaseModel):
    """What the page sends of a pair."""

    model_config = ConfigDict(extra="forbid")

    choices: dict[str, str]
    note: str = Field("", max_length=NOTE)
    seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


def app(store: Store, host: str) -> ASGIApp:
    """The server of a review that listens at the address `host`."""
    made = FastAPI(title="Review", docs_url=None, redoc_url=None, openapi_url=None)
    pairs, rubric, seed = store.pairs(), RUBRICS[store.about.rubric], store.about.seed

    def places(request: Request) -> list[Place]:
        return order(seed, request.state.reviewer, len(pairs))

    def seen(request: Request, number: int) -> Place:
        shown = places(request)
        if not 0 <= number < len(shown):
            raise HTTPException(404, f"found no pair {number}")
        return shown[number]

    def judged(request: Request) -> list[bool]:
        """Which pairs the reviewer has judged, in the order of the page."""
        done = store.judged(request.state.reviewer)
        return [place.pair in done for place in places(request)]

    @made.get("/api/review")
    def review(request: Request) -> dict[str, Any]:
        criteria = [{**asdict(each), "sides": each.sides} for each in rubric]
        return {"reviewer": request.state.reviewer, "criteria": criteria, "judged": judged(request)}

    @made.get("/api/pairs/{number}")
    def pair(request: Request, number: int) -> dict[str, Any]:
        place = seen(request, number)
        shown, answers = pairs[place.pair], (pairs[place.pair].candidate, pairs[place.pair].reference)
        said = next((each for each in store.judgements(request.state.reviewer) if each.pair == place.pair), None)
        return {
            "prompt": shown.prompt,
            "image": None if shown.image is None else f"data:image/png;base64,{base64.b64encode(shown.image).decode()}",
            "a": answers[0 if place.candidate_first else 1],
            "b": answers[1 if place.candidate_first else 0],
            "choices": {} if said is None else {name: _to_side(who, place) for name, who in said.choices.items()},
            "note": "" if said is None else said.note,
        }

    @made.put("/api/pairs/{number}")
    def judge(request: Request, number: int, said: Said) -> dict[str, Any]:
        place, expected = seen(request, number), {each.name: each.sides for each in rubric}
        if said.choices.keys() != expected.keys():
            raise HTTPException(422, f"found choices for {sorted(said.choices)}, expected them for {sorted(expected)}")
        for name, side in said.choices.items():
            if side not in expected[name]:
                raise HTTPException(422, f"{name}: found {side[:20]!r}, expected one of {', '.join(expected[name])}")
        choices = {name: _to_author(side, place) for name, side in said.choices.items()}
        store.add(Judgement(request.state.reviewer, place.pair, choices, said.note, said.seconds, place.candidate_first))
        return {"judged": judged(request)}

    for path, (name, kind) in _FILES.items():
        made.get(path)(_file(_PAGE / name, kind))
    return Guard(made, host, store.tokens)


def _file(path: Path, kind: str) -> Any:
    content = path.read_bytes()

    def answer() -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8")

    return answer


def _to_author(side: str, place: Place) -> str:
    """Who is on a side; what is said of both answers stays."""
    return side if side not in ("a", "b") else "candidate" if (side == "a") == place.candidate_first else "reference"


def _to_side(author: str, place: Place) -> str:
    return author if author not in ("candidate", "reference") else "a" if (author == "candidate") == place.candidate_first else "b"
