"""How well and how fast personal data are found, on made-up sentences and messages.

    python benchmarks/teach/scrub.py [--seed N]

Without a seed on the labelled sets of the tests; with one the same sentences have other names, addresses and numbers. Times are processor
time, on one thread.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from edgedistill.recipe.scrub import Scrub  # noqa: E402
from edgedistill.teach.scrub import known_names  # noqa: E402
from edgedistill.teach.scrub.base import Finding, engine  # noqa: E402
from edgedistill.teach.scrub.quality import judged  # noqa: E402

MISSED = ("missed", "name")


def labelled(seed: int | None) -> dict[str, list[dict[str, Any]]]:
    """The labelled texts by the name of their set."""
    if seed is None:
        files = [ROOT / "tests/data" / name for name in ("personal.jsonl", "messages.jsonl")]
        rows = [[json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files]
    else:
        import made_messages
        import made_personal

        rows = [made_personal.rows(seed, each=12), made_messages.rows(seed, each=8)]
    sentences, messages = rows
    return {name: [row for row in sentences if row["set"] == name] for name in ("tuning", "test")} | {"messages": messages}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    sets = labelled(parser.parse_args().seed)
    for config in (Scrub(), Scrub(names=[])):
        scrubber = engine(config).load(config)
        scrubber.find(sets["test"][0]["text"])
        print(f"names: {config.names}")
        for name, rows in sets.items():
            texts = [(row["text"], [Finding(*span) for span in row["spans"]]) for row in rows]
            start = time.process_time()
            recall, precision, wrong = judged(scrubber, texts)
            rate = len(texts) / (time.process_time() - start)
            totals = [tuple(map(sum, zip(*shares.values(), strict=True))) for shares in (recall, precision)]
            print(f"  {name}: {len(texts)} texts, {rate:.0f} a second; recall {_share(totals[0])}, precision {_share(totals[1])}")
            for kind in recall:
                print(f"    {kind}: recall {_share(recall[kind])}, precision {_share(precision.get(kind, (0, 0)))}")
            names = [text[one.start : one.end] for text, spans in texts for one in spans if one.kind == "name"]
            listed, missed = (
                [known_names.is_listed(name) for name in names],
                [value for what, kind, value in wrong if (what, kind) == MISSED],
            )
            rare = listed.count(False)
            print(
                f"    names of which no list has a word: recall {_share((rare - sum(not known_names.is_listed(n) for n in missed), rare))}"
            )
            print(f"    wrong: {dict(Counter((what, kind) for what, kind, _ in wrong))}")


def _share(counts: tuple[int, ...]) -> str:
    right, count = counts
    return f"{right / count:.3f} ({right}/{count})" if count else "none"


if __name__ == "__main__":
    main()
