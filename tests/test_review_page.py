"""The page of a review in Chromium: by keyboard alone, on a phone, for screen readers, and with answers that try to be code."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_review import CRITERIA, HARMFUL, Served, choices, serving, store
from playwright.sync_api import Browser, Page, expect, sync_playwright

from edgedistill.gate.review.pairs import Pair
from edgedistill.gate.review.rubric import OVERALL
from edgedistill.gate.review.store import Judgement, Store

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome in PATH")
# A busy machine is slow.
expect.set_options(timeout=30_000)
EVIL = "</p><script>window.evil = 1</script><img src=x onerror='window.evil = 1'><a href='javascript:window.evil = 1'>x</a>"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8db00000000049454e44ae426082"
)
REBOUND = "rebound.example"
"""A name that was pointed to this machine."""
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
WIDE = {"viewport": {"width": 1200, "height": 900}}
PAIRS = [
    Pair(0, EVIL, PNG, EVIL + " one", EVIL + " two"),
    Pair(1, "x" * 500, None, "y" * 500, "line\n  next\u202eline"),
    Pair(2, "", PNG, "cat", "dog"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = store(tmp_path_factory.mktemp("page"), PAIRS, ["keyboard", "phone", "evil", "axe", "offline"])
    with serving(made.path) as served:
        yield served


def kept(served: Served, reviewer: str) -> list[Judgement]:
    with closing(Store(served.file)) as file:
        return file.judgements(reviewer)


def opened(browser: Browser, link: str, **options: Any) -> Page:
    page = browser.new_context(**(WIDE | options)).new_page()
    page.messages = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.messages.append(message.text))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.messages.append(str(error)))  # type: ignore[attr-defined]
    page.goto(link)
    return page


def test_all_pairs_are_judged_by_keyboard_alone(browser: Browser, served: Served) -> None:
    page = opened(browser, served.links["keyboard"])
    expect(page.locator("#count")).to_have_text("Pair 1 of 3, 0 judged")
    # The token is neither in the address nor in the history.
    assert page.url.endswith("/")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_have_text("Answer the questions that are marked.")
    assert page.locator("fieldset.missing").count() == len(CRITERIA) - 1
    # The third question is about each answer alone, and has four choices.
    for key in "243321":
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.id") == "save"
    page.keyboard.press("Enter")
    expect(page.locator("#count")).to_have_text("Pair 2 of 3, 1 judged")
    # Back, where everything stands as it was said; a change by arrow counts.
    page.keyboard.press("p")
    expect(page.locator("#count")).to_have_text("Pair 1 of 3, 1 judged")
    chosen = [page.locator(f"[name={name}]:checked").input_value() for name in CRITERIA]
    assert chosen == ["a", "same", "both", "b", "b", "same", "a"]
    page.locator(f"#{OVERALL} input").first.focus()
    page.keyboard.press("ArrowRight")
    page.locator("#note").focus()
    page.keyboard.type("1 is fine")
    page.locator("#save").press("Enter")
    for number in (2, 3):
        expect(page.locator("#count")).to_have_text(f"Pair {number} of 3, {number - 1} judged")
        for _ in CRITERIA:
            page.keyboard.press("2")
        page.keyboard.press("Enter")
    expect(page.locator("#done-title")).to_be_focused()
    expect(page.locator("#count")).to_have_text("3 judged")
    mine = kept(served, "keyboard")
    assert len(mine) == 3
    assert [each.note for each in mine if each.note] == ["1 is fine"]
    assert all(each.choices == choices("same") for each in mine if not each.note)
    assert [each.choices[HARMFUL] for each in mine if each.note] == ["both"]
    # Keys can be switched off, as those who speak to their browser need.
    page.locator("#again").click()
    page.locator("#keys").uncheck()
    page.locator("#title").focus()
    page.keyboard.press("1")
    assert page.locator(":checked[value=a]").count() == 0
    page.reload()
    expect(page.locator("#done-title")).to_be_visible()
    assert page.messages == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(("scheme", "device"), [("light", WIDE), ("dark", PHONE)])
def test_axe_finds_nothing(browser: Browser, served: Served, scheme: str, device: dict[str, Any]) -> None:
    page = opened(browser, served.links["axe"], color_scheme=scheme, **device)
    expect(page.locator("#save")).to_be_enabled()

    def check() -> None:
        found = Axe().run(page).response
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
        assert len(found["passes"]) > 15

    check()
    page.locator("#save").click()
    expect(page.locator("#message")).to_be_visible()
    for name in CRITERIA:
        page.locator(f"#{name} label").first.click()
    check()
    page.locator("#pair").evaluate("each => { each.hidden = true; document.getElementById('done').hidden = false }")
    check()


def test_a_phone_shows_everything_without_scrolling_sideways(browser: Browser, served: Served) -> None:
    page = opened(browser, served.links["phone"], **PHONE)
    for number in range(3):
        expect(page.locator("#count")).to_have_text(f"Pair {number + 1} of 3, {number} judged")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        boxes = [page.locator(each).bounding_box() for each in ("#a", "#b", "#save", f"#{OVERALL} label >> nth=0")]
        assert all(box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes)
        assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]  # type: ignore[index]
        # Targets of 44 px.
        assert min(boxes[2]["height"], boxes[3]["height"]) >= 44  # type: ignore[index]
        four = page.locator(f"#{HARMFUL} label")
        assert four.all_inner_texts() == ["A", "Neither", "B", "Both"]
        # No word is cut off.
        assert all(each.evaluate("each => each.scrollWidth <= each.clientWidth && each.clientHeight >= 42") for each in four.all())
        for name in CRITERIA:
            page.locator(f"#{name} label").nth(number).tap()
        page.locator("#save").tap()
    expect(page.locator("#done-title")).to_be_visible()


def test_what_a_model_writes_stays_text(browser: Browser, served: Served) -> None:
    page = opened(browser, served.links["evil"])
    texts = set()
    for number in range(3):
        expect(page.locator("#count")).to_have_text(f"Pair {number + 1} of 3, {number} judged")
        texts |= {page.locator(each).text_content() for each in ("#prompt", "#a", "#b")}
        assert page.locator("main script, main a, .text *").count() == 0
        for _ in CRITERIA:
            page.keyboard.press("1")
        page.keyboard.press("Enter")
    assert {EVIL, EVIL + " one", EVIL + " two", "line\n  next\u202eline"} <= texts
    assert page.evaluate("window.evil") is None
    # Code that stood in the page would not run either.
    page.evaluate("document.body.insertAdjacentHTML('beforeend', `<img src=x onerror='window.evil = 1'>`)")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = 1'}))")
    page.wait_for_timeout(50)
    assert page.evaluate("window.evil") is None
    assert any("Content Security Policy" in text for text in page.messages)  # type: ignore[attr-defined]


def test_a_link_that_is_wrong_or_missing_says_so(browser: Browser, served: Served) -> None:
    address = served.links["evil"].partition("#")[0]
    page = opened(browser, f"{address}#wrong")
    expect(page.locator("#message")).to_have_text("This link is not valid. Open the link that you were given for this review.")
    expect(opened(browser, address).locator("#message")).to_have_text("Open the link that you were given for this review.")
    # The right one in the same window.
    page.goto(served.links["axe"])
    expect(page.locator("#title")).to_have_text("Review by axe")


def test_what_could_not_be_saved_is_not_lost(browser: Browser, served: Served) -> None:
    page = opened(browser, served.links["offline"])
    expect(page.locator("#count")).to_have_text("Pair 1 of 3, 0 judged")
    page.route("**/api/pairs/0", lambda route: route.abort())
    for _ in CRITERIA:
        page.keyboard.press("3")
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_contain_text("Not saved. The server does not answer.")
    assert page.locator(":checked[value=b]").count() == len(CRITERIA)
    page.unroute("**/api/pairs/0")
    page.keyboard.press("Enter")
    expect(page.locator("#count")).to_have_text("Pair 2 of 3, 1 judged")
    expect(page.locator("#message")).to_be_hidden()
    assert len(kept(served, "offline")) == 1


def test_a_page_from_elsewhere_gets_nothing_and_changes_nothing(browser: Browser, served: Served) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>elsewhere</p>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address, _, token = served.links["axe"].partition("#")
    asked = """async ([address, token, options]) => {
        const headers = token ? { Authorization: `Bearer ${token}` } : {};
        return fetch(`${address}api/pairs/0`, { ...options, headers }).then(a => a.text(), () => "failed")
    }"""
    body = '{"choices": {}, "seconds": 1}'
    context, port = browser.new_context(), urlsplit(address).port
    try:
        for host in ("127.0.0.1", REBOUND):
            page = context.new_page()
            page.goto(f"http://{host}:{server.server_port}/")
            for options in (
                {},
                {"method": "POST", "body": body},
                {"method": "PUT", "body": body},
                {"mode": "no-cors", "method": "POST", "body": body},
            ):
                for known in (token, ""):
                    assert page.evaluate(asked, [address, known, options]) in ("failed", "")
            frame = f"<iframe src='{address}'></iframe>"
            page.evaluate("frame => document.body.innerHTML = frame", frame)
            page.wait_for_timeout(50)
            assert "Review" not in (page.frames[-1].content() if len(page.frames) > 1 else "")
        answer = page.goto(f"http://{REBOUND}:{port}/")
        assert answer is not None
        assert answer.status == 421
        for known in (token, ""):
            assert "not the address" in page.evaluate(asked, ["/", known, {}])
    finally:
        server.shutdown()
        server.server_close()
    assert kept(served, "axe") == []
