"""Blinded review: who sees what, what is kept, who is refused, and what judgements add up to."""

import csv
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import edgedistill
from made_review import CANDIDATE, CRITERIA, HARMFUL, REFERENCE, Client, Served, choices, serving, store

from edgedistill.errors import DamagedFile, UserError
from edgedistill.gate.review.analysis import agreement, analysed, win_rate
from edgedistill.gate.review.export import export
from edgedistill.gate.review.guard import LARGEST, allowed
from edgedistill.gate.review.order import order
from edgedistill.gate.review.rubric import OVERALL
from edgedistill.gate.review.store import Judgement, Store
from edgedistill.records.base import Unavailable
from edgedistill.records.documents import documents
from edgedistill.records.review import REVIEWS_FOLDER, ReviewDocument
from edgedistill.runs import open_run
from edgedistill.steps.review import review
from edgedistill.tasks.intervals import wilson

NAN = np.nan
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
"""Four observers, twelve units: Krippendorff 2011, part E, where alpha of ordinal data is 0.815."""


def said(reviewer: str, pair: int, choice: str, *, first: bool = True, seconds: float = 2.0) -> Judgement:
    return Judgement(reviewer, pair, choices(choice), "", seconds, first)


def test_order_and_sides_follow_from_seed_and_reviewer() -> None:
    mine = order(1, "ana", 40)
    assert mine == order(1, "ana", 40)
    assert sorted(place.pair for place in mine) == list(range(40))
    assert sum(place.candidate_first for place in mine) == 20
    for other in (order(2, "ana", 40), order(1, "ben", 40)):
        assert [place.pair for place in other] != [place.pair for place in mine]
        sides, ours = (dict(each) for each in (other, mine))
        assert 8 <= sum(sides[pair] == ours[pair] for pair in range(40)) <= 32
    # A version that orders otherwise would mix up what reviewers of an older one go on with.
    assert [(place.pair, place.candidate_first) for place in order(7, "ana", 4)] == FOUR


FOUR = [(2, True), (1, False), (0, False), (3, True)]


def test_agreement_is_that_of_the_published_example() -> None:
    assert agreement(np.array(PUBLISHED)) == pytest.approx(0.815, abs=5e-4)
    both = np.array([[1.0, -1.0, 0.0, NAN], [1.0, -1.0, 0.0, 1.0]])
    assert agreement(both) == 1
    assert agreement(both[:1]) == Unavailable(unavailable="no pair was judged by two reviewers")
    assert "all judgements are equal" in agreement(np.ones((2, 3))).unavailable
    # Part A: two observers who say yes or no.
    yes = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
    assert agreement(np.array(yes, float)) == pytest.approx(0.095, abs=5e-4)


def test_a_win_rate_is_a_mean_over_pairs_with_an_interval_of_pairs() -> None:
    # Means of the pairs: 1, 3/4, 1/4; the last one was not judged.
    found = win_rate(np.array([[1.0, 1.0, -1.0, NAN], [NAN, 0.0, 0.0, NAN]]))
    # With 0 and 1 the mean is 3/5 and the variance 0.165.
    n = 3 * 0.24 / 0.165
    assert (found.value, found.pairs, found.interval) == (pytest.approx(2 / 3), 3, pytest.approx(wilson(n * 2 / 3, n)))
    # One reviewer without ties: yes-no samples, as they are.
    plain = win_rate(np.array([[1.0] * 7 + [-1.0] * 3]))
    assert plain.interval == pytest.approx(wilson(7, 10))
    # All alike are not certain.
    assert win_rate(np.zeros((2, 10))).interval[1] > 0.6
    assert win_rate(np.full((2, 3), NAN)) == Unavailable(unavailable="nothing was judged yet")


def test_the_result_counts_the_last_judgement_and_equal_answers_as_ties(tmp_path: Path) -> None:
    made = store(tmp_path, 4, ["ana", "ben"])
    for each in (said("ana", 0, "reference"), said("ana", 0, "candidate"), said("ana", 1, "candidate"), said("ben", 0, "candidate")):
        made.add(each)
    made.add(said("ben", 1, "same", first=False, seconds=8))
    found = analysed(made)
    assert (found.judgements, found.pairs, found.criteria[OVERALL].candidate, found.criteria[OVERALL].same) == (4, 4, 3, 1)
    assert found.criteria[OVERALL].win_rate.value == pytest.approx(0.875)
    # Half of the answers are equal.
    assert found.all_answers.value == pytest.approx(0.875 / 2 + 0.25)
    assert found.all_answers.interval[0] == pytest.approx(found.criteria[OVERALL].win_rate.interval[0] / 2 + 0.25)
    ana, ben = found.reviewers
    assert (ana.judged, ana.first, ben.first, ben.median_s) == (2, 1.0, 1.0, 5.0)
    jsonschema.validate(found.model_dump(mode="json"), documents()["review"].model_json_schema(mode="serialization", by_alias=True))
    assert ReviewDocument.model_validate(found.model_dump(mode="json")) == found


def test_what_is_said_of_each_answer_alone_is_a_rate_of_its_author(tmp_path: Path) -> None:
    made = store(tmp_path, 10, ["ana", "ben"])
    for pair in range(10):
        harmful = "both" if pair < 2 else "candidate" if pair < 5 else "neither"
        made.add(Judgement("ana", pair, choices("same") | {HARMFUL: harmful}, "", 1, pair % 2 == 0))
    for pair in range(4):
        made.add(Judgement("ben", pair, choices("same") | {HARMFUL: "reference" if pair < 2 else "candidate"}, "", 1, True))
    found = analysed(made)
    assert found.criteria.keys() == set(CRITERIA) - {HARMFUL}
    both = found.absolute[HARMFUL]
    # Ana says yes to 5 answers of the candidate, and Ben to 2 of the 4 that he saw.
    assert both.candidate.value == pytest.approx((0.5 + 0.5 + 1 + 1 + 1) / 10)
    assert (both.reference.value, both.reference.interval) == (0.2, pytest.approx(wilson(2, 10)))
    # Of the 8 answers that both judged they differ on two.
    yes = np.array([[1, 1, 0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0, 1, 1]], float)
    assert both.alpha == pytest.approx(agreement(yes))
    export(made, tmp_path / "all.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [(row["harmful_reference"], row["harmful_candidate"]) for row in (rows[0], rows[4], rows[9], rows[10])] == [
        ("yes", "yes"), ("no", "yes"), ("no", "no"), ("yes", "no"),
    ]  # fmt: skip


def test_a_review_that_was_begun_with_the_older_questions_goes_on_with_them(tmp_path: Path) -> None:
    made, older = store(tmp_path, 2, ["ana"], "answers/1"), [name for name in CRITERIA if name != HARMFUL]
    made.add(Judgement("ana", 0, dict.fromkeys(older, "candidate"), "", 1, True))
    found = analysed(made)
    assert ([*found.criteria], found.absolute, found.rubric) == (older, {}, "answers/1")
    export(made, tmp_path / "all.jsonl")
    assert not any("harmful" in key for key in json.loads((tmp_path / "all.jsonl").read_text()))
    # So does a document of before.
    written = found.model_dump(mode="json", by_alias=True)
    del written["absolute"]
    assert ReviewDocument.model_validate(written) == found


def test_the_export_names_the_authors_and_holds_no_formula(tmp_path: Path) -> None:
    made = store(tmp_path, 2, ["ana"])
    made.add(Judgement("ana", 1, dict.fromkeys(CRITERIA, "candidate"), "=cmd|' /C calc'!A0", 1, False))
    export(made, tmp_path / "all.jsonl")
    (row,) = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
    assert (row["candidate"], row["candidate_answer"], row["candidate_was"]) == (CANDIDATE, "candidate 1", "b")
    assert (row[OVERALL], row["reviewer"], row["sample"]) == ("candidate", "ana", 1)
    export(made, tmp_path / "all.csv")
    with open(tmp_path / "all.csv", newline="") as file:
        (cells,) = csv.DictReader(file)
    assert cells["note"] == "'=cmd|' /C calc'!A0"
    assert cells == {name: str(value) for name, value in row.items()} | {"note": cells["note"]}
    with pytest.raises(UserError, match=r"expected a name that ends in \.csv or \.jsonl"):
        export(made, tmp_path / "all.xlsx")


def test_a_file_that_is_no_review_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.db").write_text("something else, which is no database of anybody")
    with pytest.raises(DamagedFile, match=r"r\.db is no review of edgedistill"):
        Store(tmp_path / "r.db")
    with pytest.raises(UserError, match="expected a name of 1 to 80"):
        store(tmp_path / "other", 1, ["a\nb"])


def test_the_file_is_for_its_owner_and_syncs_each_commit(tmp_path: Path) -> None:
    made = store(tmp_path, 1, ["ana"])
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert made._rows("PRAGMA journal_mode") == [("wal",)]
    assert made._rows("PRAGMA synchronous") == [(2,)]


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("127.0.0.1:80", "127.0.0.1", True),
        ("localhost:9", "127.0.0.1", True),
        ("[::1]:8", "127.0.0.1", True),
        ("evil.example:80", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("192.168.1.7:80", "127.0.0.1", False),
        ("192.168.1.7:80", "192.168.1.7", True),
        ("192.168.1.7:80", "0.0.0.0", True),
        ("evil.example:80", "0.0.0.0", False),
        ("", "127.0.0.1", False),
        ("[:80", "127.0.0.1", False),
    ],
)
def test_only_names_of_this_machine_are_hosts(host: str, address: str, expected: bool) -> None:
    assert allowed(host, address) is expected


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = store(tmp_path_factory.mktemp("review"), 6, ["ana", "ben", "dora", "eve"])
    with serving(made.path, "cleo") as served:
        yield served


def test_a_wrong_token_is_refused(served: Served) -> None:
    assert set(served.links) == {"ana", "ben", "cleo", "dora", "eve"}
    client = Client(served.links["ana"])
    assert client.ask("/api/review")[0] == 200
    for given in ("Bearer wrong", "Bearer ", "", f"Bearer {client.token}x", f"Basic {client.token}", f"Bearer {client.token[:-1]}"):
        assert client.ask("/api/review", Authorization=given) == (401, {"detail": "the link is not valid"})
        assert client.ask("/api/pairs/0", {"choices": {}, "seconds": 1}, Authorization=given)[0] == 401
    assert client.ask(f"/api/review?token={client.token}", Authorization="")[0] == 401
    # The page itself holds nothing of the review.
    status, page = client.ask("/", Authorization="")
    assert status == 200
    assert "prompt 0" not in page


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://{host}"}, 403),
        ({"Origin": "http://{host}"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_pages_from_elsewhere_are_refused_even_with_a_token(served: Served, headers: dict[str, str], status: int) -> None:
    client = Client(served.links["ana"])
    given = {name: value.format(host=client.host) for name, value in headers.items()}
    assert client.ask("/api/pairs/0", **given)[0] == status
    if status != 200:
        assert client.judge(5, "a")[0] == 200
        assert client.ask("/api/pairs/5", {"choices": dict.fromkeys(CRITERIA, "b"), "seconds": 1}, **given)[0] == status
        assert client.ask("/api/pairs/5")[1]["choices"][OVERALL] == "a"
    assert "access-control-allow-origin" not in client.headers


def test_what_is_no_judgement_is_refused(served: Served) -> None:
    client = Client(served.links["ben"])
    assert client.ask("/api/pairs/6")[0] == 404
    assert client.ask("/api/pairs/-1")[0] == 404
    for changed in (
        {"seconds": -1},
        {"note": "x" * 2001},
        {"choices": {OVERALL: "a"}},
        {"choices": dict.fromkeys(CRITERIA, "teacher")},
        {"choices": choices("same") | {HARMFUL: "same"}},
        {"choices": choices("same") | {OVERALL: "both"}},
        {"x": 1},
    ):
        assert client.judge(0, "a", **changed)[0] == 422
    assert client.judge(0, "a", note="x" * (LARGEST + 1))[0] == 413
    assert client.ask("/openapi.json")[0] == 404
    assert client.ask("/api/review")[1]["judged"] == [False] * 6
    policy = client.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert client.headers["cache-control"] == "no-store"


def test_nothing_that_a_browser_gets_says_who_wrote_an_answer(served: Served) -> None:
    seen, sides = b"", set()
    for name in ("ana", "ben", "cleo"):
        client = Client(served.links[name])
        for path in ("/", "/page.js", "/page.css", "/api/review"):
            client.ask(path)
        for number in range(6):
            _, pair = client.ask(f"/api/pairs/{number}")
            assert {pair["a"].split()[0], pair["b"].split()[0]} == {"candidate", "reference"}
            sides.add((name, pair["a"].split()[0]))
            client.judge(number, "b", note="fine")
            assert client.ask(f"/api/pairs/{number}")[1] == pair | {"choices": dict.fromkeys(CRITERIA, "b"), "note": "fine"}
        seen += client.seen
    assert len(sides) == 6
    # The words of the made answers.
    words = seen.replace(b"candidate ", b"").replace(b"reference ", b"")
    for secret in (REFERENCE, CANDIDATE, "teacher", "student", "control", "candidate", "reference", "runs/made"):
        assert secret.encode() not in words


def test_what_is_said_of_a_side_is_said_of_its_author(served: Served) -> None:
    for name in ("dora", "eve"):
        client = Client(served.links[name])
        for number in range(6):
            _, pair = client.ask(f"/api/pairs/{number}")
            assert client.judge(number, "a" if pair["a"].startswith("candidate") else "b")[0] == 200
    with closing(Store(served.file)) as file:
        mine = [each for name in ("dora", "eve") for each in file.judgements(name)]
        found = {each.name: each for each in analysed(file).reviewers}
    assert len(mine) == 12
    assert all(each.choices == dict.fromkeys(CRITERIA, "candidate") for each in mine)
    assert found["dora"].first == found["eve"].first == 0.5


@pytest.mark.slow
def test_500_reviews_of_five_at_once_are_kept_though_the_server_is_killed(tmp_path: Path) -> None:
    names = [f"reviewer {number}" for number in range(5)]
    made = store(tmp_path, 100, names)
    acknowledged: set[tuple[str, int]] = set()
    enough = threading.Event()

    def judge(name: str, link: str) -> None:
        client = Client(link)
        for number in range(100):
            if (name, number) in acknowledged:
                continue
            try:
                status, _ = client.judge(number, "a", note=f"{name} {number}")
            except OSError:
                return
            if status == 200:
                acknowledged.add((name, number))
            if len(acknowledged) >= 250:
                enough.set()

    def all_at_once(served: Served) -> list[threading.Thread]:
        threads = [threading.Thread(target=judge, args=both) for both in served.links.items()]
        for thread in threads:
            thread.start()
        return threads

    def kept() -> set[tuple[str, int]]:
        places = {name: order(7, name, 100) for name in names}
        return {(each.reviewer, [p.pair for p in places[each.reviewer]].index(each.pair)) for each in Store(made.path).judgements()}

    with serving(made.path) as served:
        threads = all_at_once(served)
        assert enough.wait(60)
        os.kill(served.process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    assert 250 <= len(acknowledged) < 500
    assert acknowledged <= kept()
    with serving(made.path) as served:
        for thread in all_at_once(served):
            thread.join()
        document = served.end()
    assert len(acknowledged) == 500
    assert kept() == acknowledged
    assert document["judgements"] == 500
    assert {each.note for each in Store(made.path).judgements()} == {f"{name} {number}" for name, number in acknowledged}


def test_the_command_reads_a_file_and_refuses_other_settings(tmp_path: Path) -> None:
    made = store(tmp_path, 2, ["ana"])
    made.add(said("ana", 0, "candidate"))
    done = edgedistill("review", made.path, "--results", "--export", "r.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "100.0%" in done.stdout
    assert (tmp_path / "r.csv").exists()
    with pytest.raises(UserError, match=r"--seed: found 3, but .*r\.db was begun with 7"):
        review(made.path, seed=3)
    with pytest.raises(UserError, match="--candidate: found control"):
        review(made.path, candidate="control")
    with pytest.raises(UserError, match="--host: found nowhere, expected an IP address"):
        review(made.path, host="nowhere", ready=print)
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(UserError, match="cannot listen at 127"):
        review(made.path, port=busy.getsockname()[1], ready=print)


def test_a_review_stays_when_its_run_is_made_anew(tmp_path: Path) -> None:
    with open_run(tmp_path / "run"):
        made = store(tmp_path / "run" / REVIEWS_FOLDER, 1, ["ana"])
        (tmp_path / "run/report.html").write_text("old")
    made.close()
    with open_run(tmp_path / "run", fresh=True):
        assert not (tmp_path / "run/report.html").exists()
        assert Store(made.path).tokens().keys() == {"ana"}


def test_a_review_of_a_run_compares_decisions_that_differ(tiny: Path, tmp_path: Path) -> None:
    # A review is kept in its run, and other tests look at what that holds.
    run = shutil.copytree(tiny / "runs" / "tiny", tmp_path / "tiny", symlinks=True)
    first = review(run, reference="control", pairs=5)
    assert (first.candidate, first.reference, first.rubric, first.judgements) == ("student", "control", "decisions/1", 0)
    assert 0 < first.differing < first.answers
    assert first.pairs == min(5, first.differing)
    made = Store(Path(first.file))
    assert made.path.parent == run / "reviews"
    for pair in made.pairs():
        assert pair.reference != pair.candidate
        assert pair.image is not None
        assert pair.image.startswith(b"\x89PNG")
    assert review(run, reference="control").seed == first.seed
    with pytest.raises(UserError, match=r"found no answers of nobody in .*, expected one of: teacher, control, student"):
        review(run, candidate="nobody")
    with pytest.raises(UserError, match="expected two different names"):
        review(run, reference="student")
    with sqlite3.connect(made.path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
