"""How well and how fast personal data are found, on made-up sentences of ten countries.

    python benchmarks/teach/scrub.py [--seed N]

Without a seed on the labelled set of the tests; with one the same sentences have other names, addresses and numbers. Times are processor
time, on one thread.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from edgedistill.recipe.scrub import Scrub  # noqa: E402
from edgedistill.teach.scrub.base import Finding, engine  # noqa: E402
from edgedistill.teach.scrub.quality import judged  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    seed = parser.parse_args().seed
    if seed is None:
        rows = [json.loads(line) for line in (ROOT / "tests/data/personal.jsonl").read_text(encoding="utf-8").splitlines()]
    else:
        import made_personal

        rows = made_personal.rows(seed, each=12)
    for config in (Scrub(), Scrub(names=[])):
        scrubber = engine(config).load(config)
        scrubber.find(rows[0]["text"])
        print(f"names: {config.names}")
        for name in ("tuning", "test"):
            part = [row for row in rows if row["set"] == name]
            texts = [(row["text"], [Finding(*span) for span in row["spans"]]) for row in part]
            start = time.process_time()
            recall, precision, wrong = judged(scrubber, texts)
            rate = len(texts) / (time.process_time() - start)
            totals = [tuple(map(sum, zip(*shares.values(), strict=True))) for shares in (recall, precision)]
            print(f"  {name}: {len(texts)} sentences, {rate:.0f} a second; recall {_share(totals[0])}, precision {_share(totals[1])}")
            for kind in recall:
                print(f"    {kind}: recall {_share(recall[kind])}, precision {_share(precision.get(kind, (0, 0)))}")
            print(f"    wrong: {dict(Counter((what, kind) for what, kind, _ in wrong))}")


def _share(counts: tuple[int, ...]) -> str:
    right, count = counts
    return f"{right / count:.3f} ({right}/{count})" if count else "none"


if __name__ == "__main__":
    main()
