"""Write the table of docs/benchmarks-text.md: descriptions of Debian packages with their sections, as JSON lines.

    python benchmarks/text/sections.py FILE [--every 4] [--labelled 3]

The file of benchmarks/data is in a random order: its first 80% train, the next 10% are val, the last 10% the holdout.
"""

import argparse
import gzip
import json
from pathlib import Path

DATA = Path(__file__).parents[1] / "data/debian_sections.jsonl.gz"
SPLITS = ((0.8, "train"), (0.9, "val"), (1.0, "holdout"))


def rows(every: int, labelled: int) -> list[dict[str, str | None]]:
    """Each `every`-th text, and the label of each `labelled`-th of train; val and holdout have all of theirs."""
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        taken = [json.loads(line) for number, line in enumerate(file, 1) if number % every == 0]
    written = []
    for number, row in enumerate(taken):
        split = next(name for share, name in SPLITS if number < share * len(taken))
        label = row["label"] if split != "train" or number % labelled == 0 else None
        written.append({"text": row["text"], "label": label, "split": split})
    return written


def main() -> None:
    """Write the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--every", type=int, default=4, help="take each so-manieth text")
    parser.add_argument("--labelled", type=int, default=3, help="keep the label of each so-manieth text of train")
    given = parser.parse_args()
    given.file.write_text("".join(json.dumps(row) + "\n" for row in rows(given.every, given.labelled)), encoding="utf-8")


if __name__ == "__main__":
    main()
