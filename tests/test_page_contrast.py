"""The report and the release card in Chromium: axe finds nothing, in light and dark, wide and on a phone."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_gate import copied, decided
from playwright.sync_api import Browser, sync_playwright

from edgedistill.files import read_json
from edgedistill.report import page, render
from edgedistill.report.release_card import render as render_card

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
VIEWS = (("light", 1200), ("dark", 360))
STYLE = (Path(page.__file__).parent / "style.css").read_text()
LEAST = 4.5
"""Contrast of text (WCAG 2.2, 1.4.3)."""


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_can_be_read_on_page_and_panel(scheme: int) -> None:
    root = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", root))
    for name in ("text", "muted", "orange", "green", "link"):
        for ground in ("page", "panel"):
            assert contrast(colours[name], colours[ground]) >= LEAST, (name, ground)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome in PATH")
@pytest.mark.parametrize("kind", ["report", "card"])
def test_axe_finds_nothing(browser: Browser, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    run = copied(tiny, tmp_path)
    if kind == "report":
        drawn = render(read_json(run / "summary.json"))
    else:
        # What passes, what fails, what is unavailable, slices, and a warning.
        rules = {"drop": {"max": 0.5}, "size": {"max_mb": 0.1}, "slices": [{"by": "class", "max": 0.3}], "shadow": {"max": 0.1}}
        drawn = render_card(decided(run, **rules))
    (tmp_path / "page.html").write_text(drawn, encoding="utf-8")
    for scheme, width in VIEWS:
        view = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
        view.goto((tmp_path / "page.html").as_uri())
        view.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        found = Axe().run(view).response
        told = [(each["id"], node["target"], node["any"][:1]) for each in found["violations"] for node in each["nodes"]]
        assert told == [], scheme
        assert len(found["passes"]) > 15
