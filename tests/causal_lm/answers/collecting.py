"""Collects from a server in a process of its own, which tests kill: arguments are the ledger, the URL, and how many prompts."""

import sys
from pathlib import Path

from edgedistill.tasks.causal_lm.answers import endpoint
from edgedistill.tasks.causal_lm.answers.asking import Prompt
from edgedistill.tasks.causal_lm.answers.collect import Counts, collect
from edgedistill.tasks.causal_lm.answers.ledger import opened
from edgedistill.tasks.causal_lm.answers.recipe import Checks, Endpoint, Sampling

CONCURRENCY = 3
SAMPLING = Sampling(samples=2, max_tokens=16)


def prompts(count: int) -> list[Prompt]:
    return [Prompt(messages=[{"role": "user", "content": f"prompt {number}"}]) for number in range(count)]


def run(ledger: Path, url: str, count: int, checks: Checks | None = None) -> Counts:
    asked = Endpoint(base_url=url, model="teacher", key_from="TEACHER_KEY", concurrency=CONCURRENCY, timeout=2.0)
    endpoint.FIRST_WAIT_S = 0.01
    with opened(ledger) as opened_ledger:
        return collect(prompts(count), endpoint.EndpointAsker(asked), SAMPLING, checks or Checks(duplicates=2), opened_ledger)


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])), flush=True)
