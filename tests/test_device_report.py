"""The report of measurements on devices: every figure is there, nothing is markup, charts stay small and show when throttling began."""

import json
import re

import pytest
from made_documents import bench, document, stress
from test_report import EVIL, SUMMARY, Page

from edgedistill.cli import stress as command
from edgedistill.errors import UserError
from edgedistill.report import device_charts, render
from edgedistill.report.devices import render_devices, write_device_report

PHONE, BOARD = "adb:0A1B2C", "ssh:pi@pi5"
DIED = {"type": "instance_died", "index": 1, "t_ns": 250_000_000_000, "signal": "SIGKILL", "exit": None, "last_line": "out of memory"}


@pytest.fixture(scope="module")
def loads():
    return [stress(PHONE, "int8.tflite"), stress(BOARD, "int8.tflite", onset=1e9, instances=2, tail=[DIED], rate_hz=50, mode="rate")]


@pytest.fixture(scope="module")
def text(loads):
    unknown = {"value": None, "unavailable": "no sensor of this device reports power"}
    slow = bench(BOARD, "fp32.tflite", 17.0, validity="throttled", reasons=["throttled: vcgencmd says 0x4"], energy=unknown)
    turns = document(
        "compare", BOARD, "b.onnx", a=bench(BOARD, "a.onnx", 5), b=bench(BOARD, "b.onnx", 4.5),
        ratio={"value": 0.9, "interval": [0.89, 0.91]}, verdict="better",
    )  # fmt: skip
    return render_devices([bench(PHONE, "int8.tflite", 2.1), slow, turns, *loads])


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_tables_hold_each_measurement(page, text):
    phone, board = page.tables["Latency on devices, batch 1"][PHONE], page.tables["Latency on devices, batch 1"][BOARD]
    assert (phone["p50, ms"], phone["p99, ms"], phone["outputs"]) == ("2.10 [2.08, 2.12]", "2.73 [2.52, 3.15]", "✓ equal")
    assert (phone["energy, mJ"], phone["validity"]) == ("3.10 [2.90, 3.30]", "valid")
    assert board["validity"] == "throttled"
    assert "throttled: vcgencmd says 0x4</li>" in text
    assert board["energy, mJ"] == "unavailable: no sensor of this device reports power"
    assert page.tables["Interleaved comparison"][BOARD]["B takes times A"] == "0.900 [0.890, 0.910]"
    assert page.tables["Devices"][PHONE]["what ran"] == "CPU, glibc build, not the app's build"


def test_the_tables_hold_each_load(page):
    table = page.tables["Stress tests"]
    assert table[PHONE]["throttled after, s"].startswith("140 (an inference takes 49% longer)")
    assert table[PHONE]["throttled after, s"].endswith("frequency fell from 2400 to 1500 MHz")
    assert table[PHONE]["sustained of initial"].startswith("0.667 [")
    assert table[PHONE]["memory, MB an hour"].startswith("no leak")
    assert table[BOARD]["throttled after, s"] == "did not throttle"
    assert table[BOARD]["load"] == "rate, 2 instances 300 s"
    assert "headroom" in table[PHONE]["headroom left"]
    assert "instance 1 died with SIGKILL: out of memory" in page.text


def test_the_page_needs_nothing_from_elsewhere(page, text):
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"} <= {"link"}
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    assert text.count("<h1>") == 1
    assert text.lstrip().startswith("<!doctype html>")


def test_names_are_no_markup():
    shown = render_devices([bench(PHONE, EVIL, 2.1), stress(PHONE, EVIL, seconds=40)])
    assert EVIL not in shown
    assert "&lt;b&gt;" in shown


def test_the_chart_of_a_load_is_small_and_marks_the_onset(loads):
    for one, marked in zip(loads, (True, False), strict=True):
        svg = device_charts.over_time(one["stress"])
        assert len(svg) < 150_000
        assert ("slower after 140 s" in svg) is marked
        for title in ("latency, ms", "°C", "MHz", "W", "memory, MB"):
            assert f">{title}<" in svg
    assert device_charts.over_time({"unavailable": "nothing ran"}) is None


def test_a_slow_inference_does_not_flatten_the_chart(loads):
    timeline = json.loads(json.dumps(loads[0]["stress"]["timeline"]))
    timeline["latency"]["high"][50] = 4000
    assert "latency, ms (log)" in device_charts.over_time({"timeline": timeline, "ran_s": 300})


def test_cores_of_a_cluster_are_one_line(loads):
    svg = device_charts.over_time(loads[0]["stress"])
    assert "cpu0 and 3 more" in svg
    assert "cpu4 and 3 more" in svg


def test_devices_stand_beside_each_other():
    points = [{"file": "a", "device": device, "value": 2.0, "interval": [1.9, 2.2], "valid": device == PHONE} for device in (PHONE, BOARD)]
    svg = device_charts.beside(points, "ms")
    assert svg.count("<title>a on ") == 2
    assert "a on ssh:pi@pi5: 2.00 [1.90, 2.20]" in svg
    assert len(re.findall(r'fill-opacity="0"', svg)) == 1
    assert device_charts.beside([points[0] | {"value": {"value": None, "unavailable": "why"}}], "ms") is None


def test_a_runs_report_has_its_devices(loads):
    summary = json.loads(SUMMARY.read_text())
    assert 'id="devices"' not in render(summary)
    page = Page(render(summary | {"devices": [bench(PHONE, "int8.tflite", 2.1), loads[0]]}))
    assert page.tables["Latency on devices, batch 1"][PHONE]["samples"] == "2,048"
    assert page.tables["Stress tests"][PHONE]["peak, °C"] == "82.5 cpu"
    assert ("a", {"href": "#devices"}) in page.tags


def test_another_schema_is_refused(tmp_path):
    with pytest.raises(UserError, match="schema is 'x', but this version reads 'edgedistill/measurement/1'"):
        write_device_report([{"schema": "x"}], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_command_line_shows_figures_and_what_went_wrong(loads, capsys):
    command.show(loads[0])
    shown = capsys.readouterr().out
    assert "sustained of initial" in shown
    assert "0.667 [0.66" in shown
    assert re.search(r"battery, from full +│ 6\.\d h \[", shown)
    assert "throttled after 140 s: an inference took" in shown
    command.show(loads[1] | {"validity": "noisy", "reasons": ["hot start"]})
    shown = capsys.readouterr().out
    assert "WARNING: instance 1 died with SIGKILL: out of memory" in shown
    assert "of 50 Hz; late p50 0.05 ms" in shown
    assert "noisy: hot start" in shown
    command.show(loads[0] | {"stress": {"value": None, "unavailable": "nothing ran"}})
    assert "unavailable: nothing ran" in capsys.readouterr().out
