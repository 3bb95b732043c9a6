"""The pages in a real browser: what is shown, what the keyboard does, and that nothing is loaded."""

import shutil

import numpy as np
import pytest
import torch
from helpers.pages import encoded

from qfm_metric.compare import compare_scores
from qfm_metric.folder.row import Row
from qfm_metric.html.comparison import write_comparison
from qfm_metric.html.scores import ReportWriter
from qfm_metric.overlay import draw_overlay, save_overlay

pytestmark = pytest.mark.browser
HOSTILE = "<script>document.title = 'gone'</script><img src=x onerror=\"document.title = 'gone'\">.png"
SIZE = {"width": 1000, "height": 800}


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Opens a page file; afterwards: no error in it, and no request but for the file itself."""
    trouble, requests, contexts = [], [], []

    def visit(path, **options):
        contexts.append(chromium.new_context(viewport=SIZE, **options))
        contexts[-1].set_default_timeout(120_000)  # a busy machine
        page = contexts[-1].new_page()
        # Chromium chats, too: that a dialog was opened while something had the focus.
        page.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert trouble == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == len(contexts)


def rows(count, overlay):
    """Scores from 0 to 1 in an order that is neither of the sorted ones; every 50th has a map."""
    for i in range(count):
        score = (i * 7919 % count) / max(1, count - 1)
        yield Row(f"p{i}.jpg", score, None, 10 + i, 10, extra={} if i % 50 else {"map": str(overlay)})


def write(path, count, *more):
    overlay = save_overlay(draw_overlay(torch.rand(3, 6, 8), torch.rand(1, 3, 4)), "x.png", path.parent)
    with ReportWriter(path, title="Fifty", signature="qfm_metric 9.9") as report:
        for row in (*rows(count, overlay), *more):
            report.add(row, encoded("JPEG"))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """53 pictures: 50 with scores 0, 1/49 ... 1, two errors, one with a hostile name."""
    errors = [Row(f"e{i}.jpg", error="expected a whole picture") for i in range(2)]
    hostile = Row(HOSTILE, 0.5, 0.125, note="a <note>")
    return write(tmp_path_factory.mktemp("report") / "report.html", 50, *errors, hostile)


def scores(page):
    """Of all cards: `text_content`, because `inner_text` is empty where the browser has not yet drawn a card."""
    return [float(text) for text in page.locator(".card .foot b").all_text_contents()]


def groups(page):
    return [text.strip() for text in page.locator("#groups label").all_text_contents()]


def status(page):
    return page.locator("#status").inner_text()


def focused(page):
    return page.evaluate("document.activeElement.title || document.activeElement.id")


def wait_for_status(page, text):
    """After what the browser does in a later task: a form's reset."""
    page.wait_for_function("text => document.getElementById('status').innerText === text", arg=text)


def wait_for_focus(page, name):
    """After what the browser does in a later task: a dialog's end."""
    page.wait_for_function("name => document.activeElement.title === name", arg=name)


def test_report_opens_worst_first(visit, report):
    page = visit(report)
    assert page.title() == "Fifty"
    assert scores(page) == sorted(scores(page))
    assert len(scores(page)) == 51
    assert status(page) == "53 of 53 shown"
    assert page.locator(".card .name").last.text_content() == "e1.jpg"
    assert page.locator(".card .foot").last.text_content().strip() == "error"
    page.locator(".card").last.scroll_into_view_if_needed()
    page.locator(".problem", has_text="expected a whole picture").last.wait_for()
    assert "qfm_metric 9.9" in page.locator("footer").inner_text()
    assert groups(page)[0] == "bad 10"
    bars = page.locator("#histogram rect.now")
    heights = [float(bar.get_attribute("height")) for bar in bars.all()]
    assert sum(heights) / min(heights) == pytest.approx(51)
    assert "bad 10, poor 10" in page.locator("#histogram").get_attribute("aria-label")


def test_names_are_text(visit, report):
    page = visit(report)
    assert page.locator(".card", has_text="onerror").locator(".name").text_content() == HOSTILE
    page.locator(".card", has_text="onerror").click()
    assert page.locator("#view-name").inner_text() == HOSTILE
    caption = page.locator("#view-pictures figcaption").inner_text()
    assert caption.startswith("score 0.500 ± 0.125, fair · a <note> · open the file")
    assert page.title() == "Fifty"


def test_sort(visit, report):
    page = visit(report)
    page.select_option("#sort", label="best first")
    assert scores(page) == sorted(scores(page), reverse=True)
    assert page.locator(".card .foot").last.text_content().strip() == "error"
    page.select_option("#sort", label="name")
    found = page.locator(".card .name").all_text_contents()
    assert [name for name in found if name[0] == "p"] == [f"p{i}.jpg" for i in range(50)]  # 2 before 10
    page.select_option("#sort", label="largest picture first")
    assert page.locator(".card .name").first.text_content() == "p49.jpg"


def test_filter(visit, report):
    page = visit(report)
    page.fill("#query", "P4")
    assert status(page) == "11 of 53 shown"
    page.fill("#query", "")
    page.fill("#low", "0.4")
    page.fill("#high", "0.5")
    assert all(0.4 <= score <= 0.5 for score in scores(page))
    assert status(page) == "6 of 53 shown"
    page.locator("#controls button").click()
    wait_for_status(page, "53 of 53 shown")
    for label in page.locator("#groups label", has_not_text="error").all():
        label.click()
    assert status(page) == "2 of 53 shown"
    page.fill("#query", "nothing like it")
    assert page.locator("#nothing").is_visible()
    page.locator("#controls button").click()
    wait_for_status(page, "53 of 53 shown")
    page.locator("#histogram .bin").nth(10).click()
    assert all(0.25 <= score <= 0.275 for score in scores(page))
    assert len(scores(page)) in (1, 2)


def test_keyboard(visit, report):
    page = visit(report)
    press = page.keyboard.press
    press("Tab")
    assert page.locator(".skip").evaluate("link => link === document.activeElement")
    stops = []
    for _ in range(14):
        press("Tab")
        stops.append(focused(page))
    order = page.locator(".card .name").all_text_contents()
    assert stops[:4] == ["query", "sort", "low", "high"]
    assert stops.count(order[0]) == 1  # the grid is one stop
    assert not any(name in stops for name in order[1:])
    while focused(page) != order[0]:
        press("Shift+Tab")
    assert page.locator(".card:focus").evaluate("card => getComputedStyle(card).outlineStyle") == "solid"
    columns = page.evaluate("getComputedStyle(grid).gridTemplateColumns.split(' ').length")
    assert columns > 3
    press("ArrowRight")
    assert focused(page) == order[1]
    press("ArrowDown")
    assert focused(page) == order[1 + columns]
    press("ArrowUp")
    press("ArrowUp")
    assert focused(page) == order[1]
    press("End")
    assert focused(page) == order[-1]
    press("Home")
    assert focused(page) == order[0]


def test_keyboard_in_the_large_view(visit, report):
    page = visit(report)
    press, order = page.keyboard.press, page.locator(".card .name").all_text_contents()
    page.locator(".card").nth(3).focus()
    press("Enter")
    assert page.locator("#view").is_visible()
    assert page.locator("#view-name").inner_text() == order[3]
    press("ArrowRight")
    assert page.locator("#view-name").inner_text() == order[4]
    for _ in range(9):
        press("ArrowLeft")
    assert page.locator("#view-name").inner_text() == order[0]
    assert page.locator("#previous").is_disabled()
    press("ArrowRight")
    press("Escape")
    page.locator("#view").wait_for(state="hidden")
    wait_for_focus(page, order[1])


def test_quality_map(visit, report):
    page = visit(report)
    card = page.locator(".card", has_text="p0.jpg")
    assert not card.locator("img.map").is_visible()
    page.check("#maps")
    assert card.locator("img.map").is_visible()
    card.click()
    assert page.locator("#view img.map").is_visible()
    page.uncheck("#view-maps")
    assert not page.locator("#view img.map").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#maps").is_checked()


def luminance(colour):
    """WCAG's, of `rgb(r, g, b)`."""
    parts = np.array([float(part) for part in colour[4:-1].split(",")]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_can_be_read(visit, report, scheme):
    page = visit(report, color_scheme=scheme)
    style = "element => [getComputedStyle(element).color, getComputedStyle(element.closest('{}')).backgroundColor]"
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert ground > 0.8 if scheme == "light" else ground < 0.05
    for selector, around in (("h1", "body"), ("#status", "body"), (".card .name", ".card"), (".card .foot", ".card")):
        ink, paper = map(luminance, page.locator(selector).first.evaluate(style.format(around)))
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5


def test_phone_needs_no_sideways_scrolling(visit, report):
    page = visit(report)
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_five_thousand_pictures(visit, tmp_path):
    page = visit(write(tmp_path / "many.html", 5000))
    assert status(page) == "5,000 of 5,000 shown"
    loaded = page.locator(".card img").count()
    assert 0 < loaded < 1000  # only near the screen
    page.locator(".card").first.focus()
    page.keyboard.press("End")
    assert focused(page) == page.locator(".card .name").last.text_content()
    page.wait_for_function("document.activeElement.querySelector('img')?.complete")
    assert page.locator(".card img").count() < 2000
    page.fill("#query", "p4999")
    assert status(page) == "1 of 5,000 shown"


@pytest.fixture
def sides():
    """B is better by i/100 in pair i, for i up to 20, but for the last two: a tie, and worse."""
    a = {f"x{i}.png": Row(f"A/x{i}.png", 0.4) for i in range(21)}
    b = {f"x{i}.jpg": Row(f"B/x{i}.jpg", 0.4 + i / 100) for i in range(19)}
    return a, b | {"x19.jpg": Row("B/x19.jpg", 0.4), "x20.jpg": Row("B/x20.jpg", 0.3)}


def compared(sides, path, **options):
    found = compare_scores(*({name: row.score for name, row in side.items()} for side in sides), **options)
    write_comparison(found, *sides, path, titles=("old <b>", "new"), signature="qfm_metric 9.9")
    return path


def test_comparison(visit, sides, tmp_path):
    page = visit(compared(sides, tmp_path / "compare.html"))
    assert page.title() == "old <b> and new"
    assert "B is better" in page.locator(".lead").inner_text()
    values = [float(text.replace("\N{MINUS SIGN}", "-")) for text in page.locator(".card .foot b").all_text_contents()]
    assert values[:2] == [0.18, 0.17]
    assert [abs(value) for value in values] == sorted(map(abs, values), reverse=True)
    assert groups(page) == ["A better 1", "B better 18", "equal 2"]
    page.select_option("#sort", label="A better first")
    page.locator(".card").first.click()
    assert page.locator("#view-pictures figcaption").all_inner_texts() == [
        "A · score 0.400, fair · open the file",
        "B · score 0.300, poor · open the file",
    ]


def test_comparison_without_pairs(visit, sides, tmp_path):
    page = visit(compared(sides, tmp_path / "compare.html", pair=False))
    assert groups(page) == ["A 21", "B 21"]
    assert scores(page) == sorted(scores(page))
    assert len(scores(page)) == 42


def names(page):
    return page.locator(".name").all_inner_texts()


def test_defects_are_shown_filtered_and_sorted(visit, tmp_path):
    costs = [{"noise": 0.31, "dark": 0.12, "blur": 0.02}, {"blur": 0.5}, {"noise": 0.45, "blur": 0.2}, {}]
    with ReportWriter(tmp_path / "page.html") as report:
        for i, found in enumerate(costs):
            report.add(Row(f"{i}.png", 0.3 + 0.1 * i, extra=found), encoded("JPEG"))
    page = visit(tmp_path / "page.html")
    assert page.locator(".defect").all_inner_texts() == ["noise", "blur", "noise"]
    assert page.locator("#defect option").all_inner_texts() == ["any or none", "blur", "dark", "noise"]
    page.select_option("#sort", "defect")
    assert names(page) == ["1.png", "2.png", "0.png", "3.png"]
    page.select_option("#defect", "noise")
    assert names(page) == ["2.png", "0.png"]
    page.locator(".card").first.click()
    assert "noise 0.45, blur 0.20" in page.locator("#view-pictures").inner_text()


def test_without_defects_nothing_of_them_is_shown(visit, tmp_path):
    with ReportWriter(tmp_path / "page.html") as report:
        report.add(Row("a.png", 0.5), encoded("JPEG"))
    page = visit(tmp_path / "page.html")
    assert not page.locator("#defects").is_visible()
    assert "defect" not in [option.get_attribute("value") for option in page.locator("#sort option").all()]
