"""`edgedistill gate`: rules on a finished run, the release card, its place in bundles, and the log of openings of the holdout."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import edgedistill
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from made_documents import made_measurement
from made_gate import INT8, PHONE, checks, copied, decided, evidence, ruled, saved

from edgedistill import tasks
from edgedistill.bundle.check import check_bundle
from edgedistill.errors import UserError
from edgedistill.files import read_json, write_json
from edgedistill.gate import openings
from edgedistill.gate.on_device import FIGURES
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import load_recipe, recorded
from edgedistill.records import Unavailable
from edgedistill.records.documents import documents
from edgedistill.records.measurements import Measurement
from edgedistill.report.release_card import render
from edgedistill.run import Run
from edgedistill.runs import open_run
from edgedistill.steps.bundle import bundle
from edgedistill.steps.gate import gate


@pytest.fixture
def run(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run in the current folder."""
    monkeypatch.chdir(tmp_path)
    return copied(tiny, tmp_path)


def test_the_command_signs_a_card_that_keeps_to_its_schema_and_fails_with_3(run: Path, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    ruled(run, drop={"max": 0.5}, size={"max_mb": 1, "files": "all"})
    done = edgedistill("gate", "runs/tiny", "--sign", "key.pem", "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, documents()["gate"].model_json_schema(mode="serialization", by_alias=True))
    card = (run / "release-card.json").read_bytes()
    assert json.loads(card) == document["card"]
    key.public_key().verify((run / "release-card.sig").read_bytes(), card)
    # Four files, of which the two in floating point are too large.
    assert [file["ok"] for file in document["card"]["files"]] == [True, False, True, False]
    assert all("Size: found 1." in text and "expected at most 1 MB" in text for text in document["card"]["failed"])
    assert len(document["card"]["failed"]) == 2
    assert gate(ruled(run, drop={"max": 0.5}), out=tmp_path / "card").status == "ok"
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["release-card.html", "release-card.json"]


def test_the_drop_is_that_of_the_scores_and_its_bound_decides(run: Path) -> None:
    card = decided(run, drop={"max": 0.02}, files="first")
    (check,) = checks(card, "drop").values()
    (file,), scores = card.files, card.reference.score
    assert not isinstance(scores, Unavailable)
    assert check.value == pytest.approx(scores.holdout.value - file.score.holdout.value)
    assert (check.n, check.bound > check.value, check.ok) == (file.score.holdout.n, True, check.bound <= 0.02)
    # Between the figure and its bound a limit fails; at the bound it passes.
    assert decided(run, drop={"max": (check.value + check.bound) / 2}, files="first").status == "check_failed"
    assert decided(run, drop={"max": check.bound}, files="first").status == "ok"
    (student,) = checks(decided(run, drop={"max": 0.02}, files="first", against="student"), "drop").values()
    assert abs(student.value) <= abs(check.value) + 0.02


def test_slices_are_judged_each_and_small_ones_are_listed(run: Path) -> None:
    card = decided(
        run, slices=[{"by": "class", "max": 0.5}, {"by": "class", "max": 0.5, "min_samples": 10**6}, {"by": "camera", "max": 0.5}]
    )
    check = checks(card, "slices.0")[INT8]
    assert check.ok
    assert [one.slice for one in check.slices or []] != sorted(one.slice for one in check.slices or [])
    assert sorted(one.slice for one in check.slices or []) == [str(digit) for digit in range(10)]
    assert sum(one.n for one in check.slices or []) == card.data.splits["holdout"]
    assert (check.part, check.bound) == (check.slices[0].slice, max(one.bound for one in check.slices))
    few, unknown = checks(card, "slices.1")[INT8], checks(card, "slices.2")[INT8]
    assert few.value == Unavailable(unavailable="no class has 1000000 samples in the holdout")
    assert unknown.value == Unavailable(unavailable="the data has no field camera, expected one of: class")
    assert (few.ok, unknown.ok) == (False, False)


def test_a_rule_may_judge_some_samples_alone(run: Path) -> None:
    every = decided(run, slices=[{"by": "class", "max": 0.5, "min_samples": 1}])
    card = decided(run, slices=[{"by": "class", "max": 0.5, "min_samples": 1, "where": {"class": value}} for value in ("7", "ten")])
    (slice_,) = checks(card, "slices.0")[INT8].slices or []
    assert slice_ == next(one for one in checks(every, "slices.0")[INT8].slices or [] if one.slice == "7")
    assert checks(card, "slices.0")[INT8].title == "Drop on the worst class with class 7"
    assert checks(card, "slices.1")[INT8].value == Unavailable(unavailable="no sample has class ten")
    unknown = decided(run, slices=[{"by": "class", "max": 0.5, "where": {"set": "gold"}}])
    assert checks(unknown, "slices.0")[INT8].value == Unavailable(unavailable="the data has no field set, expected one of: class")


def test_what_is_unavailable_fails_unless_the_rule_allows_it(run: Path) -> None:
    phone = {"device": PHONE, "p95_ms": 20}
    answers = {"of": "valid", "min": 0.9}
    card = decided(run, devices=[phone], trials=[answers])
    assert not any(check.ok for rule in ("devices.0.p95_ms", "trials.0") for check in checks(card, rule).values())
    assert f"{INT8}: Latency, p95, {PHONE}: unavailable: not measured on {PHONE}" in " ".join(card.failed)
    allowed = {"may_be_unavailable": True}
    card = decided(run, devices=[phone | allowed], trials=[answers | allowed])
    assert card.status == "ok"
    assert {check.ok for check in checks(card, "trials.0").values()} == {None}
    assert "was not tried on whole images" in render(card)


def test_calibration_is_that_of_the_holdout(run: Path) -> None:
    check = checks(decided(run, calibration={"max": 0.5}), "calibration")[INT8]
    summary = read_json(run / "summary.json")
    on_val = next(rung["further"]["ece"] for rung in summary["ladder"] if rung["model"] == INT8 or rung["rung"] == INT8)
    assert check.value != on_val
    assert 0 < check.value < check.bound < 0.2
    assert check.value == pytest.approx(evidence(run).scorer.further(INT8, "holdout")["ece"])
    assert (check.n, check.ok) == (summary["data"]["splits"]["holdout"], True)
    between = (check.value + check.bound) / 2
    assert not checks(decided(run, calibration={"max": between}), "calibration")[INT8].ok


def test_devices_are_judged_by_the_newest_measurement_of_the_same_bytes(run: Path) -> None:
    limits = {"p95_ms": 12.1, "energy_mj": 3.2}
    rules = {"files": "first", "devices": [{"device": "Pixel 8", **limits}]}
    (file,) = decided(run, **rules).files
    saved("f" * 64, "2026-11-25T15:00:00+00:00")
    assert isinstance(checks(decided(run, **rules), "devices.0.p95_ms")[file.name].value, Unavailable)
    saved(file.sha256, "2026-11-25T15:00:00+00:00")
    card = decided(run, **rules)
    latency, energy = (checks(card, f"devices.0.{name}")[file.name] for name in limits)
    # The upper ends of both intervals, [10.5, 12] ms and [2.9, 3.3] mJ.
    assert (latency.value, latency.bound, latency.ok) == (11.0, 12.0, True)
    assert (energy.value, energy.bound, energy.ok) == (3.1, 3.3, False)
    assert "measurement 2, 2026-11-25T15:00:00+00:00, adb:0A1B2C" in latency.how
    saved(file.sha256, "2026-11-26T15:00:00+00:00", validity="throttled", reasons=["it became hot"])
    latency = checks(decided(run, **rules), "devices.0.p95_ms")[file.name]
    assert latency.value == Unavailable(unavailable="the newest measurement is throttled: it became hot")


def test_tokens_on_a_device_are_judged_by_the_worst_length_of_prompts() -> None:
    def times(high: float) -> dict[str, Any]:
        latency = {"p50": 10.0, "p95": 11.0, "p99": 12.0, "n": 100}
        return {"latency_ms": latency, "intervals_ms": {"p50": [9.0, 11.0], "p95": [10.0, high], "p99": [11.0, 20.0]}}

    energy = {"mj_per_token": 2.0, "interval": [1.0, 3.0], "idle_w": 1.0, "power_w": 2.0, "source": "made", "window_s": 1.0, "n": 50}
    prompts = [
        {
            "prompt_tokens": length, "first_token": times(high), "next_token": times(high + 1), "last_token": times(90.0), "steady": True,
            "prefill_tokens_per_s": 1.0, "decode_tokens_per_s": 1.0, "peak_rss_mb": 1.0, "energy": energy,
        }
        for length, high in ((32, 14.0), (128, 17.0))
    ]  # fmt: skip
    generation = {"context": 256, "state_bytes": 1, "new_tokens": 32, "by_prompt": prompts}
    made = Measurement.model_validate(made_measurement("a.pte", generation=generation))
    read = {name: reader(made) for name, (_, _, reader) in FIGURES.items()}
    assert (read["first_token_p95_ms"], read["next_token_p95_ms"], read["energy_mj"]) == ((11, 17, 100), (11, 18, 100), (2, 3, 50))
    prompts[0]["energy"] = {"unavailable": "charging"}
    made = Measurement.model_validate(made_measurement("a.pte", generation=generation))
    assert FIGURES["energy_mj"][2](made)[0] == Unavailable(unavailable="charging")
    plain = Measurement.model_validate(made_measurement("a.tflite"))
    assert FIGURES["next_token_p95_ms"][2](plain)[0] == Unavailable(unavailable="the file keeps no state, so it writes no tokens")


def test_the_size_is_that_of_the_file_to_ship_first(run: Path) -> None:
    (first,) = (file.name for file in decided(run, size={"max_mb": 100}, files="first").files)
    assert list(checks(decided(run, size={"max_mb": 0.001}), "size")) == [first]
    assert len(checks(decided(run, size={"max_mb": 0.001, "files": "all"}), "size")) == 4


def test_a_file_that_changed_or_is_missing_fails(run: Path) -> None:
    (run / "artifacts" / INT8).unlink()
    (run / "artifacts" / INT8).write_bytes(b"other")
    check = checks(decided(run, drop={"max": 0.9}), "verified")[INT8]
    assert (check.value, check.ok) == (0.0, False)
    assert "the file changed after it was lowered" in check.how
    summary = read_json(run / "summary.json")
    write_json(run / "summary.json", summary | {"artifacts": []})
    assert decided(run, verified={"may_be_unavailable": True}, files="first").failed == ["linux: there is no file to ship"]
    write_json(run / "summary.json", summary | {"artifacts": [a for a in summary["artifacts"] if a["name"] != INT8]})
    assert checks(decided(run, drop={"max": 0.9}), "verified")[INT8].value == Unavailable(unavailable="the run has no such file")


def test_scores_of_other_files_than_the_run_has_do_not_count(run: Path) -> None:
    record = run / f"work/records/holdout-{INT8}.started.json"
    begun = read_json(record)
    write_json(record, begun | {"reads": begun["reads"] | {f"artifacts/{INT8}": "0" * 64}})
    check = checks(decided(run, drop={"max": 0.9}), "drop")[INT8]
    assert isinstance(check.value, Unavailable)
    assert "has changed since; go on with `edgedistill run`" in check.value.unavailable


def test_runs_without_rules_or_scores_are_refused(run: Path) -> None:
    with pytest.raises(UserError, match="has no gate; add `gate:` with rules"):
        gate(run)
    ruled(run, drop={"max": 0.1})
    (run / "work/records/holdout.json").unlink()
    with pytest.raises(UserError, match="has not scored the holdout yet"):
        gate(run)
    (run / "summary.json").unlink()
    with pytest.raises(UserError, match=r"has no summary\.json yet"):
        gate(run)


def test_mistakes_in_rules_are_told_with_their_field(tmp_path: Path) -> None:
    rules = "{drop: {max: 2}, trials: [{of: valid}], devices: [{device: x}], slices: [{by: class, max: 0.1, min_sample: 3}]}"
    (tmp_path / "r.yaml").write_text(f"name: x\ngate: {rules}\n")
    with pytest.raises(RecipeError) as wrong:
        load_recipe(str(tmp_path / "r.yaml"))
    told = "\n".join(wrong.value.errors)
    assert "gate.drop.max: found 2, expected a number" in told
    assert "gate.trials.0: found neither, expected either min or max_drop" in told
    assert "gate.devices.0: found no limit" in told
    assert "did you mean 'min_samples'?" in told


def test_bundles_take_the_card_of_their_files(run: Path, tmp_path: Path) -> None:
    gate(ruled(run, size={"max_mb": 100}))
    folder = Path(bundle(run, ["linux"], tmp_path / "out").bundles["linux"])
    assert {"release-card.json", "release-card.html"} <= set(read_json(folder / "manifest.json")["files"])
    assert "`release-card.html`" in (folder / "README.md").read_text()
    assert check_bundle(folder).status == "ok"
    gate(ruled(run, size={"max_mb": 1, "files": "all"}))
    folder = Path(bundle(run, ["linux"], tmp_path / "out").bundles["linux"])
    assert any(text.startswith("the gate failed, as release-card.json says: student-fp32") for text in check_bundle(folder).problems)
    card = read_json(run / "release-card.json")
    write_json(run / "release-card.json", card | {"files": [file | {"sha256": "0" * 64} for file in card["files"]]})
    folder = Path(bundle(run, ["linux"], tmp_path / "out").bundles["linux"])
    assert not (folder / "release-card.json").exists()
    shutil.copy(run / "release-card.json", folder)
    assert "release-card.json is of another student-int8.onnx" in check_bundle(folder).problems


def test_a_bundle_tells_a_card_that_another_key_signed(run: Path, tmp_path: Path) -> None:
    keys = {name: Ed25519PrivateKey.generate() for name in ("mine", "other")}
    for name, key in keys.items():
        (tmp_path / f"{name}.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    gate(ruled(run, size={"max_mb": 100}), key=tmp_path / "other.pem")
    folder = Path(bundle(run, ["linux"], tmp_path / "out", key=tmp_path / "mine.pem").bundles["linux"])
    (problem,) = check_bundle(folder, key=keys["mine"].public_key()).problems
    assert problem.startswith("release-card.sig is not the signature of release-card.json by this key")


def test_the_page_has_every_rule_and_runs_nothing_and_goes_with_a_fresh_run(run: Path) -> None:
    card = decided(run, drop={"max": 0.5}, slices=[{"by": "class", "max": 0.5}], size={"max_mb": 1, "files": "all"})
    card.files[0].targets = ["<script>alert(1)</script>"]
    assert {path.name for path in run.glob("release-card.*")} == {"release-card.json", "release-card.html"}
    with open_run(run, fresh=True):
        assert not list(run.glob("release-card.*"))
    page = render(card)
    assert "<script" not in page
    assert "✗</span> the gate failed" in page
    for text in ("Drop of accuracy against the teacher", "Drop on the worst class", "Size", card.data.sha256, card.recipe.sha256):
        assert text in page
    assert page.count("too few samples") == sum(one.ok is None for check in card.checks for one in check.slices or [])


def test_each_opening_of_the_holdout_is_logged_and_a_change_of_the_log_is_told(run: Path) -> None:
    log = run.parent / openings.LOG
    first = json.loads(log.read_text().splitlines()[0])
    data = read_json(run / "summary.json")["data"]["sha256"]
    assert (first["run"], first["previous"], first["data_sha256"]) == ("tiny", "", data)
    changed = "The rules of the gate are others than when this run opened the holdout."
    assert changed in decided(run, drop={"max": 0.5}).holdout.warnings
    log.unlink()
    for _ in range(2):
        openings.note(Run(run), recorded(run))
    known = decided(run, drop={"max": 0.5}).holdout
    assert (len(known.entries), known.warnings) == (2, [])
    ruled(run, drop={"max": 0.6})
    openings.note(Run(run), recorded(run))
    assert decided(run, drop={"max": 0.6}).holdout.warnings == [
        changed,
        "2 recipes were scored on this holdout, 3 times in all. The confidence of a bound is that of one candidate; who takes the best of "
        "several has less.",
    ]
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0].replace('"who":"', '"who":"x'), *lines[1:]]) + "\n")
    assert (
        f"{openings.LOG} was changed before line 2: that line has the hash of another one."
        in openings.openings(Run(run), recorded(run), data).warnings
    )
    log.write_text("{}\n")
    assert openings.openings(Run(run), recorded(run), data).warnings[0] == f"Line 1 of {openings.LOG} is damaged."


def test_an_opening_is_noted_once_and_before_the_first_sample_is_read(run: Path) -> None:
    log = run.parent / openings.LOG
    log.unlink()
    opens = openings.once(Run(run), recorded(run))
    assert not log.exists()
    opens()
    opens()
    assert len(log.read_text().splitlines()) == 1


def test_slices_of_a_task_are_the_fields_of_its_data() -> None:
    data = SimpleNamespace(fields={"camera": np.array(["a", "b", "a"])})
    found = tasks.task("tensors").slices(data, np.array([2, 1]))
    assert found["camera"].tolist() == ["a", "b"]
