"""The command shadow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedistill.cli.options import NOTHING, Json, Threads

if TYPE_CHECKING:
    from edgedistill.records.shadow import ShadowDocument


def shadow(
    source: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE|FILE", help="Folder of a run or of a bundle, or a file of one.")],
    traces: Annotated[
        Path | None, typer.Option("--traces", metavar="FILE", help="Replay these requests with the teacher's answers, JSON lines.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", metavar="URL", help="Serve as a proxy of this API, as http://localhost:8000/v1.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="The proxy writes its exchanges to it, as traces for a replay.")
    ] = None,
    scrub: Annotated[bool, typer.Option("--scrub", help="Replace personal data in what is recorded.")] = False,
    host: Annotated[str, typer.Option("--host", help="Address of the proxy.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the proxy; 0 takes a free one.")] = 8787,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Share of requests on which the student may disagree.")] = 0.05,
    alpha: Annotated[float, typer.Option("--alpha", help="Probability of a wrong decision, over all looks together.")] = 0.05,
    policy: Annotated[
        list[str], typer.Option("--policy", metavar="REGEX", help="What no part of an answer may match; repeatable.")
    ] = NOTHING,
    json_schema: Annotated[
        Path | None, typer.Option("--json-schema", metavar="FILE", help="JSON Schema of the answers; default: that of the run.")
    ] = None,
    embedder: Annotated[
        Path | None, typer.Option("--embedder", metavar="RUN|BUNDLE", help="Compare texts by a run or bundle of sentence embeddings.")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option("--scorer", metavar="FOLDER:LABEL", help="Compare texts by a saved classifier of pairs of texts.")
    ] = None,
    least: Annotated[float, typer.Option("--least", help="Texts, embeddings and tensors agree from this similarity on.")] = 0.9,
    people: Annotated[int, typer.Option("--people", min=0, metavar="N", help="Size of the samples for people.")] = 100,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of verdicts and samples; the same command goes on there.")
    ] = Path("shadow"),
    artifact: Annotated[str | None, typer.Option("--artifact", help="File that answers; default: the one to ship.")] = None,
    constrained: Annotated[bool, typer.Option("--constrained", help="The student writes JSON that fits the schema.")] = False,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Most tokens of an answer of the student.")] = None,
    waiting: Annotated[int, typer.Option("--waiting", min=1, metavar="N", help="Requests that may wait for the student.")] = 256,
    timeout_s: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Longest time of an answer of the student.")] = 120.0,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Compare a student with its teacher on real requests, unseen by users: on traces, or as a proxy of the teacher."""
    from edgedistill.cli.output import finish

    def work() -> ShadowDocument:
        from edgedistill.errors import UserError
        from edgedistill.recipe.scrub import Scrub
        from edgedistill.steps import shadow as step

        if (traces is None) == (teacher is None):
            raise UserError("found no traces and no teacher, or both; expected --traces FILE or --teacher URL")
        setting = step.Shadowing(
            source, artifact, constrained, max_tokens, threads, out, waiting, timeout_s, record, Scrub() if scrub else None
        )
        rules = step.Rules(tolerance, alpha, policy, json_schema, embedder, scorer, least, people)
        return step.replay(setting, rules, traces) if traces is not None else step.serve(setting, rules, str(teacher), host, port)

    # A proxy ends by an interrupt, with its result; a replay goes on later.
    finish(as_json, work, _show, restores=teacher is not None)


def _show(document: ShadowDocument) -> None:
    low, high = document.interval
    rate = getattr(document.rate, "unavailable", None) or f"{100 * document.rate:.2f}%"  # type: ignore[operator]
    print(
        f"{document.student}: disagrees on {document.disagreements} of {document.n} ({rate}); at every look so far "
        f"{100 * low:.2f} to {100 * high:.2f}% with {100 * (1 - document.alpha):g}% confidence"
    )
    if document.decision == "undecided":
        more = "no decision comes within 10 million" if document.needed is None else f"about {document.needed:,} in all decide"
        print(f"UNDECIDED against the tolerance of {100 * document.tolerance:g}%; if the rate stays, {more}")
    else:
        print(f"{document.decision} the tolerance of {100 * document.tolerance:g}%, decided after {document.decided_at:,}")
    for title, counted in (("why", document.why), ("not compared", document.not_compared)):
        if counted:
            print(f"{title}: {', '.join(f'{reason} {count:,}' for reason, count in counted.items())}")
    for title, times in (("teacher", document.teacher_ms), ("student here", document.student_ms)):
        print(f"{title}: {_milliseconds(times)}")
    if (made := document.recorded) is not None:
        why = "".join(f", left out {count:,} ({reason})" for reason, count in made.not_written.items())
        print(f"recorded {made.written:,} in {made.path}{why}, dropped {made.dropped:,}")
    print(f"dropped {document.dropped:,}, restarts {document.restarts:,}; for people: {document.people}")


def _milliseconds(times: Any) -> str:
    why = getattr(times, "unavailable", None)
    return f"unavailable ({why})" if why else f"p50 {times.p50:.1f} ms, p95 {times.p95:.1f} ms"
