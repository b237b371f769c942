"""The report: every figure is there, nothing is loaded from elsewhere, nothing from a recipe is markup, and Chromium draws it."""

import copy
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgedistill.errors import UserError
from edgedistill.records.steps import Sensitivity
from edgedistill.records.summary import Summary
from edgedistill.report import render, write_report
from edgedistill.report.sensitivity import priced
from edgedistill.verify.failures import failures

SUMMARY = Path(__file__).parent / "data" / "summary.json"
MEASURED, LADDER, PARITY, PAIRS = (
    "Measured on this machine's CPU, batch 1",
    "The ladder: the same split scored at each rung",
    "Parity of each artifact with its reference",
    "int8 artifacts among each other",
)
EVIL = "</script><b>"
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


class Page(HTMLParser):
    """The tags and attributes of a page, its visible text, and its tables as {caption: {row name: {column: text}}}."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.tables, self.words = [], {}, []
        self._open, self._cells, self._span = [], [], 1
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self._header = []
        if tag in ("caption", "th", "td"):
            self._text, self._span = "", int(dict(attributes).get("colspan", 1))
        if tag == "tr":
            self._cells = []

    def handle_data(self, data):
        self.words.append(data)
        self._text = getattr(self, "_text", "") + data

    def handle_endtag(self, tag):
        if tag == "caption":
            self._caption = self._text
            self.tables[self._caption] = {}
        if tag in ("th", "td"):
            self._cells += [" ".join(self._text.replace("\u2060", "").split())] * self._span
        if tag == "tr" and not self._header:
            self._header = self._cells
        elif tag == "tr":
            # A name may have several rows (pairs): the second column tells them apart.
            name = self._cells[0] if self._cells[0] not in self.tables[self._caption] else tuple(self._cells[:2])
            self.tables[self._caption][name] = dict(zip(self._header, self._cells, strict=True))


@pytest.fixture(scope="module")
def summary():
    return json.loads(SUMMARY.read_text())


@pytest.fixture(scope="module")
def text(summary):
    return render(summary)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture
def changed(summary):
    return copy.deepcopy(summary)


def artifact(summary, name):
    return next(a for a in summary["artifacts"] if a["name"] == name)


def completed(document):
    """The record of a document that lacks what an older version did not write."""
    none = {"value": None, "unavailable": "not recorded"}
    whole = {"warnings": [], "ranges": {"int8": none, "float16": {}}, "lowering": {}, "devices": []} | {"sensitivity": none} | document
    whole["teacher"] = {"members": {"list": [], "disagreement": [], "teaching_set": None}} | document["teacher"]
    whole["state"] = document["state"] | {"output_scale": {"logits": document["state"]["output_scale"]}}
    whole["curves"] = {name: [{"losses": {}} | epoch for epoch in epochs] for name, epochs in document["curves"].items()}
    whole["pairs"] = [{"rule": "R", "difference": none, "interval": none} | pair for pair in document["pairs"]]
    compared = dict.fromkeys(("flips", "difference", "interval", "bytes_ratio"), none) | {"advice": None}
    whole["artifacts"] = [
        {"export_seconds": 1.0, "delegation": none, "budgets": [], "outputs": none}
        | a
        | {"parity": a["parity"] if "unavailable" in a["parity"] else {"ok": a["ok"]} | a["parity"]}
        | {"latency_ms": a["latency_ms"] if "unavailable" in a["latency_ms"] else {"p99": none} | a["latency_ms"]}
        | ({"quantization": compared | a["quantization"]} if "quantization" in a else {})
        for a in document["artifacts"]
    ]
    return Summary.model_validate(whole)


def test_ladder_has_every_rung_with_counts_interval_drop_and_executor(page, summary):
    table = page.tables[LADDER]
    assert list(table) == [rung["rung"] for rung in summary["ladder"]]
    assert len(table) == 13
    for rung in summary["ladder"]:
        row = table[rung["rung"]]
        assert row["executed by"] == rung["executed_by"]
        for split in ("val", "holdout"):
            score = rung["score"][split]
            low, high = (f"{100 * bound:.2f}%" for bound in score["interval"])
            counts = f"{score['correct']} of {score['n']}"
            assert row[f"accuracy on {split}"] == f"{100 * score['value']:.2f}% ({counts}) [{low}, {high}]"
    assert table["student"]["drop, points"] == "0.56 from teacher"
    assert table["control"]["drop, points"] == "–"
    assert table["converted"]["ece"] == "0.0350"


def test_measurements_show_samples_threads_and_each_twin(page, summary):
    table = page.tables[MEASURED]
    assert {a["name"] for a in summary["artifacts"]} == set(table)
    assert table["student-int8.pte"] == {
        "artifact": "student-int8.pte",
        "p50, ms": "0.612 [0.610, 0.615]",
        "p95, ms": "0.655",
        "samples": "1,840",
        "threads": "1",
        "first load, ms": "14.2",
        "warm load, ms": "9.80",
        "first inference, ms": "1.90",
        "peak memory, MiB": "6.40",
        "faster than twin": "2.14×",
        "size, MB": "2.71",
        "smaller than twin": "3.73×",
        "runtime": "executorch 1.5.1",
    }
    assert table["student-int8.onnx"]["samples"] == "1,510 (not steady)"
    names = list(table)
    for kind in ("pte", "onnx", "tflite"):
        assert names.index(f"student-fp32.{kind}") == names.index(f"student-int8.{kind}") + 1


def test_parity_and_pairs_show_differences_flips_rule_and_result(page, summary):
    int8, fp32 = page.tables[PARITY]["student-int8.onnx"], page.tables[PARITY]["student-fp32.onnx"]
    assert (int8["largest difference"], int8["mean difference"], int8["within 2 LSB"]) == ("2 LSB", "0.0131 LSB", "100.00%")
    assert (int8["flips"], int8["result"], int8["against"]) == ("0 of 360", "✓ ok", "converted")
    assert fp32["largest difference"] == "1.34e−05 8.20e−07 of the largest output"
    for a in summary["artifacts"]:
        assert page.tables[PARITY][a["name"]]["rule"] == a["parity"]["rule"]
    assert len(page.tables[PAIRS]) == len(summary["pairs"]) == 6
    assert page.tables[PAIRS]["student-int8.onnx"]["flips"] == "0 of 360"


def test_verdict_command_recipe_hashes_and_meanings_are_there(page, summary):
    assert summary["verdict"]["text"] in page.text
    assert "+1.39 points, [+0.28, +2.78] on val (n = 360)" in page.text
    assert summary["command"] in page.text
    assert "Expected calibration error (ECE) 0.0350" in page.text
    assert "mobilenetv4_conv_small" in page.text
    assert "source: sklearn-digits" in page.text
    hashes = {row["hash"] for row in page.tables["SHA-256"].values()}
    assert {a["sha256"] for a in summary["artifacts"]} | {summary["recipe"]["sha256"], summary["data"]["sha256"]} <= hashes
    for meaning in ("executed on Linux in float64", "does not verify fp16 arithmetic", "this machine's CPU", "holdout is scored once"):
        assert meaning.lower() in page.text.lower()


def test_what_the_outputs_were_divided_by_is_reported(page):
    assert "outputs are divided by 1.25 (student), 1.50 (int8), fitted on val" in page.text


def test_unavailable_is_shown_with_its_reason_and_never_as_zero(page, summary):
    why = artifact(summary, "student-int8.mlpackage")["latency_ms"]["unavailable"]
    row = page.tables[MEASURED]["student-int8.mlpackage"]
    for column in ("p50, ms", "p95, ms", "samples", "threads", "first load, ms", "peak memory, MiB", "faster than twin"):
        assert row[column] == f"unavailable: {why}"
    short = page.tables["All artifacts"]["student-int8.mlpackage"]["latency p50, ms"]
    assert re.fullmatch(r"unavailable: Core ML runs on Apple devices only.*…\d", short)
    assert ("li", {"id": f"note-{short[-1]}"}) in page.tags
    assert page.text.count(why) >= 3


def test_nothing_is_loaded_and_no_script_runs(page, text):
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "image", "use")
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "formaction"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    policy = next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_headings_tables_and_charts_are_accessible(page):
    tags = page.tags
    assert [t for t, _ in tags if re.fullmatch("h[1-6]", t)][:2] == ["h1", "h2"]
    assert all("scope" in a for t, a in tags if t == "th")
    assert sum(t == "svg" for t, _ in tags) == sum(a.get("role") == "img" and bool(a.get("aria-label")) for _, a in tags) == 7
    identifiers = [a["id"] for _, a in tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert {a["href"][1:] for t, a in tags if t == "a"} <= set(identifiers)
    assert "student-int8.pte (int8): 98.06% on val, 0.612 ms" in page.text


def test_names_from_data_and_recipe_are_text_everywhere(changed):
    labels = [f"{EVIL}{index}" for index in range(10)]
    confusion = changed["sections"][0]["blocks"][0]
    confusion["names"] = changed["data"]["described"] = labels
    changed["sections"][0]["title"] += EVIL
    for key in ("name", "command", "run"):
        changed[key] += EVIL
    changed["recipe"]["effective"]["note"] = EVIL
    changed["ladder"][0]["rung"] += EVIL
    changed["artifacts"][0]["name"] += EVIL
    changed["artifacts"][0]["latency_ms"] = {"value": None, "unavailable": EVIL + "x" * 80}
    changed["curves"]["student"][0]["stage"] = EVIL
    changed["environment"]["cpu"] = EVIL
    text = render(changed)
    assert EVIL not in text
    assert "<b>0" not in text
    assert html.escape(EVIL) in text
    assert text.count("<b>") == text.count("</b>")
    assert {tag for tag, _ in Page(text).tags} == {tag for tag, _ in Page(render(json.loads(SUMMARY.read_text()))).tags} | {"sup", "a"}


def test_failures_are_named_and_a_comparison_that_could_not_be_made_says_why(changed):
    changed["status"] = "check_failed"
    why = "17 of 3600 outputs are NaN or infinite"
    incomparable = {"reference": "converted", "ok": False, "reason": why, "rule": "R", "n": 360}
    artifact(changed, "student-int8.tflite").update(ok=False, parity=incomparable)
    error = artifact(changed, "student-fp32.onnx")
    error |= {"ok": None, "executed_by": "unavailable", "parity": {"value": None, "unavailable": "no runtime"}}
    changed["pairs"][1] |= {"ok": False}
    whole = completed(changed)
    changed["failed"] = failures(whole.artifacts, whole.pairs)
    page = Page(render(changed))
    assert f"check failed: student-int8.tflite: {why}; student-int8.pte and student-int8.tflite" in page.text
    row = page.tables[PARITY]["student-int8.tflite"]
    assert (row["flips"], row["rule"], row["result"]) == (f"unavailable: {why}", "R", "✗ failed")
    assert page.tables[PARITY]["student-fp32.onnx"]["result"] == "unavailable: no runtime"


def test_no_control_has_no_verdict_and_not_finite_numbers_are_unavailable(changed):
    changed["verdict"] = {"outcome": "unavailable", "text": "No verdict: the recipe trains no control."}
    changed["ladder"] = [rung for rung in changed["ladder"] if rung["rung"] != "control"]
    del changed["curves"]["control"]
    changed["recipe"]["effective"]["lr"] = math.inf
    changed["curves"]["student"][0]["loss"] = math.nan
    changed["sections"][1]["blocks"][0]["bins"][-1]["accuracy"] = math.nan
    artifact(changed, "student-int8.pte")["latency_ms"]["p50"] = math.nan
    artifact(changed, "student-int8.onnx")["score"]["val"]["value"] = math.nan
    text = render(changed)
    page = Page(text)
    assert "No verdict: the recipe trains no control." in page.text
    assert "Student less control: unavailable" in page.text
    assert not re.search(r"\bnan\b|\binf(inity)?\b", text, re.IGNORECASE)
    assert "not finite" in page.tables[MEASURED]["student-int8.pte"]["p50, ms"]


def test_a_run_without_artifacts_or_training_still_reports():
    page = Page(render({"schema": "edgedistill/summary/2", "name": "early", "status": "ok", "artifacts": [], "ladder": []}))
    assert "nothing was checked" in page.text
    assert "All artifacts: unavailable: not recorded in the summary" in page.text
    assert not [tag for tag, _ in page.tags if tag == "svg"]


def test_a_hundred_classes_stay_small_and_have_no_text_in_cells(changed):
    size = 100
    confusion, _ = changed["sections"][0]["blocks"]
    confusion["names"] = [f"class{index:03}" for index in range(size)]
    confusion["counts"] = [[7001 if i == j else 3 for j in range(size)] for i in range(size)]
    text = render(changed)
    assert len(text.encode()) < 2_000_000
    drawing = text.split("Confusion matrix of")[-1].split("</svg>")[0]
    assert drawing.count("<path") >= size * size
    assert ">7,001<" not in drawing
    assert 10 <= len(re.findall(r">class\d+<", drawing)) <= 40


def test_another_schema_is_refused_and_writing_leaves_one_file(summary, tmp_path):
    with pytest.raises(UserError, match="edgedistill/summary/1"):
        render(summary | {"schema": "edgedistill/summary/1"})
    path = tmp_path / "run" / "report.html"
    assert write_report(completed(summary), path) == path
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_size < 400_000


def test_importing_the_report_imports_no_heavy_library():
    code = "import sys, edgedistill.report; print(sorted({'altair', 'jinja2', 'vl_convert', 'torch', 'numpy'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# The frames hold the page as it is; what they measure is written to an attribute, which --dump-dom shows.
PROBE = """<body style="margin:0">%s<script>
addEventListener("load", () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, root = page.documentElement;
    const charts = [...page.querySelectorAll("svg")].map(svg => {
      const box = svg.getBoundingClientRect(), label = svg.querySelector("text").getBoundingClientRect();
      return [box.width, box.height, svg.querySelectorAll("path, line, text").length, label.height];
    });
    const clipped = [...page.querySelectorAll("svg text")].filter(text => {
      const box = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
      return box.left < outer.left - 1 || box.right > outer.right + 1;
    }).map(text => text.textContent);
    found[frame.width] = {
      charts, clipped, overflow: root.scrollWidth - root.clientWidth,
      page: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.querySelector("svg text")).fill,
    };
  }
  document.body.setAttribute("data-found", JSON.stringify(found));
});
</script></body>"""


def chromium(path, profile, *options):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=3000", *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": str(profile)})
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome in PATH")
@pytest.mark.parametrize(("scheme", "setting"), [("light", 1), ("dark", 0)])
def test_chromium_draws_the_charts_without_network(text, tmp_path, scheme, setting):
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{html.escape(text)}"></iframe>' for width in (400, 1200))
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE % frames)
    dom, console = chromium(probe, tmp_path / "profile", f"--blink-settings=preferredColorScheme={setting}")
    assert console == []
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', dom)[1]))
    for width, frame in found.items():
        assert len(frame["charts"]) == 7
        for wide, high, marks, label in frame["charts"]:
            assert 250 < wide <= int(width)
            assert high > 150
            assert marks > 20
            assert label >= 8
        assert frame["clipped"] == []
        assert frame["overflow"] <= 0
        page, ink = (sum(map(int, re.findall(r"\d+", frame[key])[:3])) for key in ("page", "ink"))
        assert (page > 700 and ink < 150) if scheme == "light" else (page < 120 and ink > 600)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome in PATH")
def test_chromium_opens_the_file_itself_without_a_console_message(text, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(text)
    dom, console = chromium(path, tmp_path / "profile")
    assert console == []
    assert dom.count("<svg ") == 7


def scanned(**fields):
    layers = [
        {
            "layer": "model.stem",
            "node": "conv2d",
            "kind": "convolution",
            "macs": 1000,
            "distance": 0.01,
            "flips": 2,
            "bytes": 1296,
            "sqnr_db": 21.5,
            "macs_share": 0.25,
        },
        {
            "layer": "model.head",
            "node": "linear",
            "kind": "linear",
            "macs": 40,
            "distance": 0.04,
            "flips": 5,
            "bytes": 1920,
            "sqnr_db": None,
            "macs_share": 0.01,
        },
    ]
    gap = {"difference": 0.02, "interval": [0.01, 0.03], "n": 360}
    int8 = {"distance": 0.05, "flips": 6, "gap": gap}
    return {
        "n": 256,
        "of": 360,
        "int8": int8,
        "layers": layers,
        "chosen": layers[:1],
        "applied": False,
        "result": None,
        "stopped": None,
    } | fields


def test_sensitivity_names_the_costliest_layer_and_what_leaving_it_in_float_takes(changed):
    int8 = artifact(changed, "student-int8.pte")
    int8["quantization"] = {"twin": "student-fp32.pte", "speedup": 2.0, "n": 0}
    changed["sensitivity"] = priced(Sensitivity.model_validate(scanned()), completed(changed).artifacts).model_dump(mode="json")
    file = next(f for f in changed["sensitivity"]["files"] if f["name"] == "student-int8.pte")
    assert (file["bytes"], file["added_bytes"]) == (int8["bytes"], 1296)
    assert file["added_ms"] == pytest.approx(0.25 * int8["latency_ms"]["p50"]), "a quarter of what the twin takes longer"
    page = Page(render(changed))
    table = page.tables["Sensitivity: each layer alone in floating point, on val"]
    assert list(table) == ["model.stem", "model.head"]
    assert table["model.stem"]["chosen"] == "proposed"
    assert (table["model.head"]["flips"], table["model.head"]["SQNR, dB"], table["model.head"]["chosen"]) == ("5 of 256", "none", "–")
    assert "model.stem costs most: with it alone in float32 the KL divergence, nats is 0.0100." in page.text
    assert "Proposed: quantize: {mixed: auto} leaves model.stem in float32, for 1,296 bytes and 25.00%" in page.text

    result = {"distance": 0.01, "flips": 2, "gap": None}
    found = Sensitivity.model_validate(scanned(applied=True, result=result, stopped="gap"))
    changed["sensitivity"] = priced(found, completed(changed).artifacts).model_dump(mode="json")
    assert "added_ms" not in changed["sensitivity"]["files"][0]
    page = Page(render(changed))
    assert "In float32: model.stem. That takes 1,296 bytes" in page.text
    assert "No further layer is proposed: on these images the accuracy can't be told from the student's." in page.text
    changed["sensitivity"] = priced(None, completed(changed).artifacts).model_dump(mode="json")
    assert "not scanned" in changed["sensitivity"]["unavailable"]
    assert "Sensitivity" not in render(changed)
