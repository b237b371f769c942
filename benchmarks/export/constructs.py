"""Which constructs each format computes: `python benchmarks/export/constructs.py FOLDER [--only TEXT] [--formats A,B] [--page PAGE]`.

Each construct of construct_cases/ stands in a small classifier, which is trained on digits for a few seconds, quantized after training,
lowered to every format in floating point and int8, executed, and held to its own references (docs/verify.md). What is in FOLDER is not
done again, so the script goes on where it was stopped; `--again` does what it names anew. PAGE is written from all that FOLDER holds.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from construct_cases import GROUPS
from construct_page import page
from proving import Setting, measure, options, wanted

SETTING = Setting(size=32, train=1500, calibration=64, compared=64, batch=64, rate=3e-3, at_once=12)


def main() -> None:
    given = options()
    cases = {
        f"{group.split()[0].lower()}-{place:02}": (group, name, build)
        for group, builds in GROUPS.items()
        for place, (name, build) in enumerate(builds.items())
    }
    measure(wanted(cases, given.only), given.folder, given.formats, SETTING, again=given.again)
    if given.page:
        named = {key: (group, name) for key, (group, name, _) in cases.items()}
        given.page.write_text(page(named, given.folder, given.formats))


if __name__ == "__main__":
    main()
