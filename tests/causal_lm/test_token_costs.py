"""What the report says of the time and the memory of tokens, of times that are made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistill.files import write_arrays
from edgedistill.tasks.causal_lm import trial
from edgedistill.tasks.causal_lm.costs import costs
from edgedistill.tasks.causal_lm.facts import LanguageFacts
from edgedistill.tasks.sections import Section, Table, Trial

FACTS = LanguageFacts.model_construct(length=200)
RNG = np.random.default_rng(0)


def tried(folder: Path, slope: float, **more: Any) -> Trial:
    """Answers whose tokens take 2 ms and `slope` ms more at each position, and some that take ten times as long."""
    places = np.tile(np.arange(20, 180), 5)
    times = (2 + slope * places) * RNG.uniform(0.9, 1.1, len(places)) * np.where(RNG.random(len(places)) < 0.05, 10, 1)
    write_arrays(folder / trial.ANSWERS, {"places": places, "each_s": times / 1e3})
    quantiles = {"p50": 2.0, "p95": 3.0}
    told = {"first_ms": quantiles, "each_ms": quantiles, "prefill_per_s": 900.0, "decode_per_s": 400.0}
    return Trial({"latency": told, **more}, folder)


def tables(section: Section | None) -> list[Table]:
    assert section is not None
    return [block for block in section.blocks if isinstance(block, Table)]


def test_time_that_grows_with_the_position_is_told_from_the_rest(tmp_path: Path) -> None:
    files = {"grows": tried(tmp_path / "a", 0.01), "stays": tried(tmp_path / "b", 0.0)}
    (_, growth) = tables(costs(FACTS, files))
    (name, start, slope, share), (_, _, _, other) = growth.rows
    assert name == "grows"
    assert float(str(start)) == pytest.approx(2, rel=0.1)
    assert float(str(slope).split()[0]) == pytest.approx(10, rel=0.15)
    # 0.01 * 172.5 of 3.7 ms.
    assert float(str(share).split("%")[0]) == pytest.approx(46, abs=5)
    assert str(share).endswith(" at 173")
    assert other == "no growth seen"


def test_the_cache_is_reckoned_up_to_the_length_of_the_file(tmp_path: Path) -> None:
    file = tried(tmp_path, 0.0, state_mb=0.4)
    first, cache, _ = tables(costs(FACTS, {"file": file, "student": Trial({"exact": True}, tmp_path)}))
    assert [row[0] for row in first.rows] == ["file"]
    assert first.rows[0][-1] == "2"
    assert cache.columns == ("positions", "file")
    assert cache.rows == (("64", "0.128"), ("128", "0.256"), ("200", "0.4"))


def test_without_times_there_is_no_section(tmp_path: Path) -> None:
    assert costs(FACTS, {"student": Trial({"exact": True}, tmp_path)}) is None
