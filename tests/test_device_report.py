"""The report of measurements on devices: every figure is there, nothing is markup, charts stay small and show when throttling began."""

import copy
import json
import re

import pytest
from made_documents import bench, compared, made_measurement, stress
from test_report import EVIL, SUMMARY, Page

from edgedistill.cli import stress as command
from edgedistill.records import Unavailable
from edgedistill.report import device_charts, render
from edgedistill.report.devices import render_devices

PHONE, BOARD = "adb:0A1B2C", "ssh:pi@pi5"
DIED = {"type": "instance_died", "index": 1, "t_ns": 250_000_000_000, "signal": "SIGKILL", "exit": None, "last_line": "out of memory"}


FIGURES = ("latency_ms", "intervals_ms", "load_ms", "peak_rss_mb", "energy", "outputs")


def over_time(test):
    figures = test.stress
    return device_charts.over_time(figures.timeline, end_s=figures.ran_s, onset_s=figures.throttling.time_s)


@pytest.fixture(scope="module")
def loads():
    return [stress(PHONE, "int8.tflite"), stress(BOARD, "int8.tflite", onset=1e9, instances=2, tail=[DIED], rate_hz=50, mode="rate")]


@pytest.fixture(scope="module")
def text(loads):
    unknown = {"value": None, "unavailable": "no sensor of this device reports power"}
    slow = bench(BOARD, "fp32.tflite", 17.0, validity="throttled", reasons=["throttled: vcgencmd says 0x4"], energy=unknown)
    return render_devices([bench(PHONE, "int8.tflite", 2.1), slow, compared(BOARD, "a.onnx", "b.onnx"), *loads])


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
    # No load has it, so that it stands once, below the table.
    assert "headroom left" not in table[PHONE]
    assert re.search(r"unavailable: headroom left \([^)]*headroom", page.text)
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
        svg = over_time(one)
        assert len(svg) < 150_000
        assert ("slower after 140 s" in svg) is marked
        for title in ("latency, ms", "°C", "MHz", "W", "memory, MB"):
            assert f">{title}<" in svg
    assert device_charts.over_time({}) is None


def test_a_slow_inference_does_not_flatten_the_chart(loads):
    timeline = copy.deepcopy(loads[0].stress.timeline)
    timeline["latency"].high[50] = 4000
    assert "latency, ms (log)" in device_charts.over_time(timeline, end_s=300)


def test_cores_of_a_cluster_are_one_line(loads):
    svg = over_time(loads[0])
    assert "cpu0 and 3 more" in svg
    assert "cpu4 and 3 more" in svg


def test_devices_stand_beside_each_other():
    points = [device_charts.Point("a", device, 2.0, (1.9, 2.2), valid=device == PHONE) for device in (PHONE, BOARD)]
    svg = device_charts.beside(points, "ms")
    assert svg.count("<title>a on ") == 2
    assert "a on ssh:pi@pi5: 2.00 [1.90, 2.20]" in svg
    assert len(re.findall(r'fill-opacity="0"', svg)) == 1
    assert device_charts.beside([], "ms") is None


def test_a_runs_report_has_its_devices(loads):
    summary = json.loads(SUMMARY.read_text())
    assert 'id="devices"' not in render(summary)
    page = Page(render(summary | {"devices": [made_measurement("int8.tflite", PHONE), loads[0].model_dump(mode="json")]}))
    assert page.tables["Latency on devices, batch 1"][PHONE]["samples"] == "2,048"
    assert page.tables["Stress tests"][PHONE]["peak, °C"] == "82.5 cpu"
    assert ("a", {"href": "#devices"}) in page.tags


def test_a_figure_that_is_unavailable_gives_its_reason():
    failed = bench(PHONE, "int8.tflite", 2.1, **dict.fromkeys(FIGURES, Unavailable(unavailable="it crashed")))
    row = Page(render_devices([failed])).tables["Latency on devices, batch 1"][PHONE]
    columns = ("p50, ms", "p99, ms", "samples", "load, ms", "peak memory, MiB", "energy, mJ", "outputs")
    assert {row[column] for column in columns} == {"unavailable: it crashed"}


def test_the_command_line_shows_figures_and_what_went_wrong(loads, capsys):
    command.show(loads[0])
    shown = capsys.readouterr().out
    assert "sustained of initial" in shown
    assert "0.667 [0.66" in shown
    assert re.search(r"battery, from full +│ 6\.\d h \[", shown)
    assert "throttled after 140 s: an inference took" in shown
    command.show(loads[1].model_copy(update={"validity": "noisy", "reasons": ["hot start"]}))
    shown = capsys.readouterr().out
    assert "WARNING: instance 1 died with SIGKILL: out of memory" in shown
    assert "of 50 Hz; late p50 0.05 ms" in shown
    assert "noisy: hot start" in shown
    command.show(loads[0].model_copy(update={"stress": Unavailable(unavailable="nothing ran")}))
    assert "unavailable: nothing ran" in capsys.readouterr().out
