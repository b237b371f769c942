"""Utterances to an assistant on a phone, and the tool calls that they ask for: made, so that a recipe runs from nothing.

Some utterances leave out what a tool needs; their answer asks for it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgedistill.errors import UserError
from edgedistill.files import canonical_hash
from edgedistill.tasks.text.tables import AT_ONCE, Row

VERSION = 1
"""Raise it where other rows are made."""
_NAMES = (
    "Anna", "Ben", "Carla", "David", "Elif", "Femi", "Grace", "Hiro", "Ines", "Jonas", "Kofi", "Lena", "Mei", "Nadia", "Omar", "Paula",
    "Quinn", "Rosa", "Sami", "Tara", "Uma", "Victor", "Wen", "Yara", "my brother", "my boss", "the office", "mum",
)  # fmt: skip
_CITIES = (
    "Accra", "Berlin", "Bogota", "Cairo", "Delhi", "Hanoi", "Istanbul", "Jakarta", "Kyoto", "Lagos", "Lima", "Lisbon", "Madrid", "Nairobi",
    "Oslo", "Paris", "Quito", "Rome", "Seoul", "Tunis", "Vienna", "Warsaw",
)  # fmt: skip
_DAYS = ("today", "tomorrow", "on Monday", "on Tuesday", "on Wednesday", "on Thursday", "on Friday", "on Saturday", "on Sunday")
_ITEMS = ("milk", "bread", "rice", "apples", "coffee", "soap", "batteries", "onions", "cheese", "tea", "paper towels", "olive oil")
_LISTS = ("shopping", "work", "travel", "weekend")
_SONGS = ("Blue Moon", "Yesterday", "Summertime", "Imagine", "Hurt", "Fever", "Bolero", "Clair de Lune", "Take Five", "Gymnopedie")
_TEXTS = (
    "I am late", "see you soon", "call me back", "happy birthday", "the train is delayed", "dinner is ready", "thank you",
    "where are you", "I am on my way", "the meeting is over", "good luck", "please bring the keys",
)  # fmt: skip
_TITLES = ("dentist", "team meeting", "lunch", "yoga", "piano lesson", "doctor", "parents evening", "football")
_MODES = {"by car": "driving", "on foot": "walking", "by bike": "cycling", "by bus": "transit"}

Draw = random.Random
Made = tuple[str, str, dict[str, Any]]
"""An utterance, the tool and its arguments."""


def _alarm(r: Draw) -> Made:
    hour, minute = r.randrange(24), r.choice((0, 5, 10, 15, 20, 30, 40, 45, 50, 55))
    time = f"{hour:02d}:{minute:02d}"
    said = r.choice(("wake me at {}", "set an alarm for {}", "alarm at {} please", "I have to get up at {}")).format(time)
    return said, "set_alarm", {"time": time}


def _timer(r: Draw) -> Made:
    minutes = r.randrange(1, 91)
    said = r.choice(("set a timer for {} minutes", "timer {} minutes", "remind me in {} minutes", "count down {} minutes")).format(minutes)
    return said, "set_timer", {"minutes": minutes}


def _message(r: Draw) -> Made:
    name, text = r.choice(_NAMES), r.choice(_TEXTS)
    said = r.choice(("tell {0} {1}", "send {0} a message: {1}", "text {0} that {1}", "write to {0}: {1}")).format(name, text)
    return said, "send_message", {"contact": name, "text": text}


def _call(r: Draw) -> Made:
    name = r.choice(_NAMES)
    return r.choice(("call {}", "phone {} please", "I want to talk to {}", "ring {}")).format(name), "call", {"contact": name}


def _weather(r: Draw) -> Made:
    city, day = r.choice(_CITIES), r.choice(_DAYS)
    patterns = ("how is the weather in {0} {1}", "will it rain {1} in {0}", "weather {0} {1}", "do I need a coat in {0} {1}")
    return r.choice(patterns).format(city, day), "get_weather", {"city": city, "day": day.removeprefix("on ").lower()}


def _list(r: Draw) -> Made:
    item, where = r.choice(_ITEMS), r.choice(_LISTS)
    said = r.choice(("add {0} to my {1} list", "put {0} on the {1} list", "{0} for the {1} list")).format(item, where)
    return said, "add_to_list", {"item": item, "list": where}


def _music(r: Draw) -> Made:
    song = r.choice(_SONGS)
    return r.choice(("play {}", "I want to hear {}", "put on {} please")).format(song), "play_music", {"song": song}


def _volume(r: Draw) -> Made:
    level = r.randrange(0, 101)
    return (
        r.choice(("volume to {}", "set the volume to {} percent", "make it {} percent loud")).format(level),
        "set_volume",
        {"level": level},
    )


def _route(r: Draw) -> Made:
    city, (words, mode) = r.choice(_CITIES), r.choice(list(_MODES.items()))
    patterns = ("how do I get to {0} {1}", "take me to {0} {1}", "route to {0} {1}")
    return r.choice(patterns).format(city, words), "navigate", {"to": city, "mode": mode}


def _event(r: Draw) -> Made:
    title, day, hour = r.choice(_TITLES), r.choice(_DAYS), r.randrange(7, 21)
    time = f"{hour:02d}:00"
    said = r.choice(("{0} {1} at {2}", "add {0} to my calendar {1} at {2}", "I have {0} {1} at {2}")).format(title, day, time)
    return said, "add_event", {"title": title, "day": day.removeprefix("on ").lower(), "time": time}


_UNCLEAR = {
    "set an alarm": "time", "wake me": "time", "set a timer": "minutes", "send a message": "contact", "call": "contact",
    "how is the weather": "city", "add to my list": "item", "play something": "song", "take me there": "to", "make an appointment": "title",
}  # fmt: skip


def _unclear(r: Draw) -> Made:
    said, missing = r.choice(list(_UNCLEAR.items()))
    return said + r.choice(("", " please", " now", ", will you")), "ask", {"missing": missing}


_MAKERS: tuple[Callable[[Draw], Made], ...] = (
    _alarm, _timer, _message, _call, _weather, _list, _music, _volume, _route, _event, _unclear,
)  # fmt: skip
_OPENINGS = ("", "", "", "hey, ", "please ", "ok, ", "could you: ", "assistant, ")


def exchange(number: int) -> tuple[str, str]:
    """Row `number`: what is said, and the tool call as JSON."""
    r = random.Random(number * 1_000_003 + VERSION)
    said, name, arguments = r.choice(_MAKERS)(r)
    call = {"name": name, "arguments": arguments}
    return r.choice(_OPENINGS) + said, json.dumps(call, separators=(",", ":"))


@dataclass
class ExampleTable:
    """The rows of the example, with the columns prompt and completion."""

    rows: int
    name: str = "made tool calls"

    @property
    def fingerprint(self) -> str:
        """Changes with the rows."""
        return canonical_hash([VERSION, self.rows])

    def __len__(self) -> int:
        return self.rows

    @property
    def columns(self) -> list[str]:
        """Both."""
        return ["prompt", "completion"]

    def names(self, column: str) -> list[str] | None:
        """Nothing: no column has a list of values."""
        return None

    @property
    def splits(self) -> list[str] | None:
        """None of its own."""
        return None

    def parts(self, columns: list[str]) -> Iterator[list[Row]]:
        """See `Table.parts`."""
        places = {"prompt": 0, "completion": 1}
        if missing := [column for column in columns if column not in places]:
            raise UserError(f"{self.name}: found no column '{missing[0]}', expected prompt or completion")
        for start in range(0, self.rows, AT_ONCE):
            made = [exchange(number) for number in range(start, min(start + AT_ONCE, self.rows))]
            yield [tuple(row[places[column]] for column in columns) for row in made]
