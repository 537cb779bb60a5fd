"""The page in a real browser: by keyboard, by mouse, by two people at once, and when its server is killed."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from chartdistill.curation.curate import curate
from chartdistill.curation.decisions import decision_file, in_force
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.review.readings import reading_file
from review_run import ASTRAL, RECORDS, TASKS, label, make_run, record, write_labels

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: install it, or name it in $CHROMIUM"),
]
WAIT_MS = 120_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


class Server:
    """`chartdistill review` in a process of its own."""

    def __init__(self, run_dir: Path, name: str, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "chartdistill", "review", str(run_dir), "--name", name]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 300)
        self.address = self.process.stdout.readline().strip() if ready else ""
        assert self.address.startswith("http://127.0.0.1:"), self.process.stderr and self.process.stderr.read()

    def end(self, how: int = signal.SIGTERM) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        self.process.communicate(timeout=120)


@pytest.fixture
def serve(users_environment: dict[str, str]) -> Iterator[Any]:
    servers: list[Server] = []

    def start(run_dir: Path, name: str = "Ada") -> Server:
        servers.append(Server(run_dir, name, users_environment))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@contextmanager
def opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page, on which nothing may fail and from which nothing may leave this machine."""
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append("a dialog opened"))
    page.goto(address)
    page.faults = faults
    yield page
    context.close()
    assert not faults
    assert asked and all(url.startswith(("http://127.0.0.1:", "blob:", "data:")) for url in asked)


def at(page: Any, record: str, task: str) -> None:
    """Wait until a label is shown, and nothing else is on its way."""
    page.locator("#main[aria-busy=false]").wait_for()
    page.wait_for_function(
        "([record, task]) => document.querySelector('#label-title').textContent.startsWith(`${record}: ${task} `)",
        arg=[record, task],
    )


def choose(page: Any, record: str, task: str, show: str = "all") -> None:
    page.select_option("#show", show)
    page.fill("#find", record)
    button = page.locator("#queue button", has_text=f"{task}, ")
    button.first.wait_for()
    page.wait_for_function(
        "(record) => [...document.querySelectorAll('#queue b')].every((one) => one.textContent === record)", arg=record
    )
    button.first.click()
    at(page, record, task)


def said(page: Any, words: str) -> None:
    page.locator("#said", has_text=words).wait_for()


def standing(run_dir: Path) -> dict[tuple[str, str], tuple[str, list[tuple[str, str | None]], str]]:
    rows = in_force(decision_file(run_dir).rows())
    return {
        (row.record, row.task): (row.action, [(item.text, item.status) for item in row.items or ()], row.by)
        for row in rows.values()
    }


def test_by_keyboard_alone(browser: Any, serve: Any, run_dir: Path) -> None:
    with opened(browser, serve(run_dir).address) as page:
        at(page, "b", "medication")  # the most doubtful one
        page.keyboard.press("x")
        said(page, "Rejected")
        assert page.locator('#show [value="decided"]').text_content() == "decided (1)", "without a reload"
        at(page, "b", "tests")
        page.keyboard.press("j")
        page.locator("#main[aria-busy=false]").wait_for()
        page.keyboard.press("k")
        at(page, "b", "tests")
        page.keyboard.press("u")  # this one has no decision: the last one made is undone
        said(page, "Undone")
        assert page.locator('#show [value="decided"]').text_content() == "decided (0)"
        assert not standing(run_dir) and len(decision_file(run_dir).rows()) == 2
        choose(page, "d", "medication")
        page.keyboard.press("c")
        for _ in range(20):  # word by word, until the test of the chart is marked
            page.keyboard.press("ArrowRight")
            if page.evaluate("getSelection().toString()") == "EEG.":
                break
        page.keyboard.press("m")
        said(page, "Added: EEG.")
        page.keyboard.press("ArrowDown")  # its status has the focus
        page.keyboard.press("Control+Enter")
        said(page, "Kept")
        action, items, by = standing(run_dir)["d", "medication"]
        assert (action, by) == ("keep", "Ada") and items[2][0] == "EEG" and items[2][1] is not None
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        page.locator("#gold-record-title").wait_for()
        page.locator("#main[aria-busy=false]").wait_for()
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_by_mouse_and_no_chart_is_ever_read_as_html(browser: Any, serve: Any, run_dir: Path) -> None:
    with opened(browser, serve(run_dir).address) as page:
        choose(page, "d", "medication")
        text = page.locator("#chart").text_content()
        assert "<script>alert(1)</script>" in text and ASTRAL in text
        assert "\u2407" in text and "\u202e" not in text, "what cannot be seen is shown as a sign"
        assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
        marks = page.locator("#chart mark")
        assert [marks.nth(place).text_content() for place in range(2)] == ["Yasadol", "Febenor 5 mg"]
        page.get_by_label("Item 1: keep").uncheck()
        page.get_by_label("Item 2: text").fill("Febenor 5 mg <b>")
        page.get_by_label("Item 2: status").select_option("continue")
        page.evaluate(
            """() => { const node = [...document.querySelector('#chart').childNodes].at(-1);
            const start = node.textContent.indexOf('Order');
            getSelection().setBaseAndExtent(node, start, node, start + 11); }"""
        )
        page.get_by_role("button", name="Add marked words").first.click()
        page.get_by_label("Item 3: status").select_option("start")
        page.locator("#label").get_by_role("button", name="Keep these items").click()
        said(page, "Kept")
        items = [("Febenor 5 mg <b>", "continue"), ("Order an EEG"[:11].strip(), "start")]
        assert standing(run_dir)["d", "medication"] == ("keep", items, "Ada")
        page.locator("#main[aria-busy=false]").wait_for()
        page.locator("#queue button", has_text="kept by Ada").click()
        at(page, "d", "medication")
        assert page.get_by_label("Item 1: text").input_value() == "Febenor 5 mg <b>"
        page.locator("#label").get_by_role("button", name="Undo").click()
        said(page, "Undone")
        assert not standing(run_dir)


def test_what_is_refused_is_said_in_a_sentence(browser: Any, serve: Any, run_dir: Path) -> None:
    with opened(browser, serve(run_dir).address) as page:
        choose(page, "a", "medication")
        page.keyboard.press("m")
        said(page, "Mark words of the chart first")
        page.get_by_label("Item 1: text").fill("a|b")
        page.keyboard.press("Control+Enter")
        said(page, "cannot be read back from an answer")
        for number in (1, 2):
            page.get_by_label(f"Item {number}: keep").uncheck()
        page.locator("#label-title").click()
        page.keyboard.press("a")
        said(page, "No item is kept. Press n")
        assert not standing(run_dir)
        page.keyboard.press("n")
        said(page, "Kept")
        assert standing(run_dir)["a", "medication"] == ("keep", [], "Ada")


def test_two_browsers_at_once_lose_no_decision(browser: Any, serve: Any, run_dir: Path) -> None:
    one, other = serve(run_dir, "Ada"), serve(run_dir, "Bo")
    with opened(browser, one.address) as ada, opened(browser, other.address) as bo:
        choose(ada, "a", "medication")
        choose(bo, "a", "medication")
        ada.keyboard.press("x")
        said(ada, "Rejected")
        bo.keyboard.press("a")
        said(bo, "Ada decided about this label meanwhile")
        assert "Ada rejected this label" in (bo.locator("#label-decision").text_content() or "")
        choose(ada, "e", "medication")
        choose(bo, "d", "medication")
        for page in (ada, bo):
            page.keyboard.press("a")
        for page in (ada, bo):
            said(page, "Kept")
    found = standing(run_dir)
    assert {place: by for place, (_, _, by) in found.items()} == {
        ("a", "medication"): "Ada", ("e", "medication"): "Ada", ("d", "medication"): "Bo",
    }  # fmt: skip


def test_nothing_is_decided_or_undone_that_is_not_on_the_page(browser: Any, serve: Any, run_dir: Path) -> None:
    one, other = serve(run_dir, "Ada"), serve(run_dir, "Bo")
    with opened(browser, one.address) as ada, opened(browser, other.address) as bo:
        choose(ada, "a", "medication")
        ada.keyboard.press("x")
        said(ada, "Rejected: a, medication")
        choose(bo, "a", "medication")
        bo.keyboard.press("a")
        said(bo, "Kept: a, medication")
        choose(ada, "e", "medication")
        ada.keyboard.press("u")
        said(ada, "Bo decided about this label after you")
        at(ada, "a", "medication")
        assert standing(run_dir)["a", "medication"][2] == "Bo"
        ada.fill("#find", "nobody")
        ada.locator("#no-label").wait_for()
        ada.locator("#main[aria-busy=false]").wait_for()
        ada.keyboard.press("Escape")
        for key in ("x", "n", "u"):
            ada.keyboard.press(key)
        choose(ada, "b", "medication")
    assert {(place, by) for place, (_, _, by) in standing(run_dir).items()} == {(("a", "medication"), "Bo")}


def test_kill_9_of_the_server_loses_nothing_that_was_said_to_be_kept(browser: Any, serve: Any, run_dir: Path) -> None:
    server = serve(run_dir)
    with opened(browser, server.address) as page:
        choose(page, "a", "medication")
        page.keyboard.press("x")
        said(page, "Rejected")
        server.end(signal.SIGKILL)
        lost = "The server does not answer: what you did last is not saved"
        for _ in range(100):  # a key is passed over while the page still shows the label it has just got
            page.keyboard.press("k")
            page.wait_for_timeout(200)
            if page.locator("#said", has_text=lost).is_visible():
                break
        said(page, lost)
    assert standing(run_dir)["a", "medication"] == ("reject", [], "Ada")
    again = serve(run_dir)
    assert again.address != server.address
    with opened(browser, again.address) as page:
        choose(page, "a", "medication")
        page.locator("#label-decision", has_text="Ada rejected this label").wait_for()


def test_only_this_machine_is_answered_and_only_with_the_token(serve: Any, run_dir: Path) -> None:
    address = serve(run_dir).address
    port = int(address.split(":")[2].split("/")[0])
    token = address.rstrip("/").rpartition("/")[2]
    for path, status in (("", 403), ("wrong/", 403), (f"{token[:-1]}/", 403), (f"{token}/", 200)):
        try:
            found = urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60).status
        except urllib.error.HTTPError as error:
            found = error.code
        assert found == status, path
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        if state == "0A" and int(local.split(":")[1], 16) == port:
            assert local.split(":")[0] == "0100007F", "it listens on 127.0.0.1 alone"
    with socket.socket(socket.AF_INET6) as six, pytest.raises(ConnectionRefusedError):
        six.connect(("::1", port))


def test_no_confidence_is_rounded_to_certainty(browser: Any, serve: Any, run_dir: Path) -> None:
    with opened(browser, serve(run_dir).address) as page:
        said = page.evaluate(
            "async () => [0.9999, 0.99, 0.01, 0.0049].map((await import('./static/items.js')).sureness)"
        )
    assert said == ["over 99% sure", "99% sure", "1% sure", "under 1% sure"]


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 1280, "height": 800}},
        {"viewport": {"width": 390, "height": 844}, "has_touch": True},
        {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    ],
    ids=["desktop", "phone", "dark"],
)
def test_every_view_fits_its_screen(browser: Any, serve: Any, run_dir: Path, options: dict[str, Any]) -> None:
    with opened(browser, serve(run_dir).address, **options) as page:
        for view, shown in (("labels", "#label-title"), ("gold", "#gold-record-title"), ("try", "#try-unavailable")):
            page.click(f'nav [data-view="{view}"]')
            page.locator(shown).wait_for()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
            assert page.locator(f'nav [data-view="{view}"]').get_attribute("aria-current") == "page"
            unnamed = page.evaluate(
                """() => [...document.querySelectorAll('button, input, select, textarea')]
                .filter((one) => one.offsetParent && !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
                .map((one) => one.outerHTML)"""
            )
            assert unnamed == [], view
            hint = '"Add marked words".' if "has_touch" in options else " m."
            assert view == "try" or page.locator("main .hint:has(.by-key):visible").inner_text().endswith(hint), view


def test_gold_is_read_blind_by_two_and_settled(browser: Any, serve: Any, run_dir: Path) -> None:
    for name, keys in (("Ada", 2), ("Bo", 5)):
        with opened(browser, serve(run_dir, name).address + "#gold") as page:
            page.locator("#gold-record-title").wait_for()
            page.locator("#main[aria-busy=false]").wait_for()
            title = page.locator("#gold-record-title").text_content()
            assert page.get_by_label("medication m1: text").count() == 0, "nobody's items are shown"
            page.keyboard.press("c")
            while page.evaluate("getSelection().toString()") != ("Yasadol." if keys == 2 else "Febenor"):
                page.keyboard.press("ArrowRight")
            page.keyboard.press("m")
            page.get_by_label("medication m1: status").select_option("stop")
            page.locator("#gold-record-title").click()
            page.keyboard.press("a")
            said(page, "tests has no answer yet")
            page.get_by_role("group", name="tests").get_by_label("None in this chart").check()
            page.locator("#gold-record-title").click()
            page.keyboard.press("a")
            said(page, f"Saved: {title}")
    assert [(row.by, row.record) for row in reading_file(run_dir).rows()] == [("Ada", title), ("Bo", title)]
    with opened(browser, serve(run_dir, "Cy").address + "#gold") as page:
        page.locator("#gold-count", has_text="held-out").wait_for()
        page.select_option("#gold-show", "differs")
        page.locator(".differences").wait_for()
        assert "Yasadol | stop" in page.locator(".differences").inner_text()
        page.locator("#gold-record-title").click()
        page.keyboard.press("a")
        said(page, f"Saved: {title}")
        page.locator("#gold-count", has_text="1 of 3").wait_for()
    assert reading_file(run_dir).rows()[-1].kind == "settled"


def test_a_chart_of_300_kb_is_shown_and_marked(browser: Any, serve: Any, tmp_path: Path) -> None:
    filler = f"Seen today {ASTRAL}. The wound is clean and dry, <b>no</b> edema.\n"
    text = filler * (300_000 // len(filler)) + "Stop Yasadol. Order an EEG."
    run_dir = write_labels(tmp_path / "run", [record("big", text=text), *RECORDS], [label("big", "Yasadol | stop")])
    curate(run_dir, TASKS, DEFAULT_FILTERS)
    with opened(browser, serve(run_dir).address) as page:
        at(page, "big", "medication")
        assert page.locator("#chart mark").text_content() == "Yasadol"
        page.get_by_label("Item 1: show it in the chart").click()
        page.evaluate(
            """() => { const node = [...document.querySelector('#chart').childNodes].at(-1);
            const start = node.textContent.indexOf('EEG');
            getSelection().setBaseAndExtent(node, start, node, start + 3); }"""
        )
        page.keyboard.press("m")
        page.get_by_label("Item 2: status").select_option("start")
        page.keyboard.press("Control+Enter")
        said(page, "Kept")
        marks = page.locator("#chart mark")
        assert [marks.nth(place).text_content() for place in range(2)] == ["Yasadol", "EEG"]
    assert standing(run_dir)["big", "medication"][1] == [("Yasadol", "stop"), ("EEG", "start")]
