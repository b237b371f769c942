"""Command line of the runner: read a job, write its records, exit 0 when the `end` record was written and 1 after an `error`."""

import argparse
import json
import sys
import traceback

from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.sequence import run


def main() -> int:
    """Run one job; whatever the adapter or the runtime raises becomes the `error` record."""
    parser = argparse.ArgumentParser(prog="runner")
    parser.add_argument("--job", required=True, help="JSON file that says what to run")
    parser.add_argument("--out", required=True, help="JSON lines file to write the records to")
    arguments = parser.parse_args()
    with open(arguments.job) as handle:
        job = json.load(handle)
    with open(arguments.out, "wb") as handle:
        recorder = Recorder(handle)
        try:
            run(job, recorder)
        except Exception as error:
            recorder.write("error", message=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
            return 1
        recorder.end(job["nonce"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
