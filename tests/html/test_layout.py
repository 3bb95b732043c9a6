"""How a page fits into its window: names, phones, and thousands of pictures."""

import pytest
from helpers.browsing import columns, focused, names, status, write

from qfm_metric.folder.row import Row
from qfm_metric.html.scores import write_report

pytestmark = pytest.mark.browser
LONG = f"a_folder_of_a_holiday_{'and_more_' * 9}/IMG_{'0123456789' * 9}.jpg"
PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
BOXES = """selector => Array.from(document.querySelectorAll(selector)).filter(e => e.checkVisibility()).map(e => {
    const box = e.getBoundingClientRect(); return [e.id || e.className || e.textContent, box.left, box.right]; })"""


@pytest.fixture
def long_names(tmp_path):
    rows = [Row(LONG, 0.1, extra={"noise": 0.3}), Row("b.jpg", 0.2), Row(f"c/{LONG}", error=f"{LONG}: broken")]
    write_report(rows, tmp_path / "long.html", title=f"/home/somebody/{LONG}", signature="qfm_metric 9.9")
    return tmp_path / "long.html"


def test_the_card_with_the_focus_shows_its_whole_name(visit, long_names):
    page = visit(long_names)
    page.mouse.move(0, 0)
    card = page.locator(".card").first
    cut = "part => part.scrollHeight > part.clientHeight + 1"
    assert card.locator(".name").evaluate(cut)
    card.focus()
    for part in (".name", ".folder", ".defect"):
        assert not card.locator(part).evaluate(cut)
    assert card.evaluate("card => card.scrollHeight <= card.clientHeight + 1")
    assert card.locator(".folder").inner_text() + card.locator(".name").inner_text() == LONG
    page.locator(".card").last.focus()
    assert card.locator(".name").evaluate(cut)
    card.hover()
    assert not card.locator(".name").evaluate(cut)
    assert card.get_attribute("title") == LONG


def test_the_large_view_shows_the_whole_name(visit, long_names):
    page = visit(long_names, **PHONE)
    page.locator(".card").first.tap()
    title = page.locator("#view-name")
    assert title.inner_text() == LONG
    assert title.evaluate("title => title.scrollWidth <= title.clientWidth")
    assert title.bounding_box()["width"] > 200  # not a letter a line beside the buttons


def overhanging(page, selector="body *"):
    """Elements that do not fit into the width of the window."""
    width = page.viewport_size["width"]
    found = page.evaluate(BOXES, selector)
    return [name for name, left, right in found if (left < 0 or right > width + 0.5) and name not in ("skip", "unseen")]


def test_a_phone_needs_no_sideways_scrolling(visit, report, long_names, sides, compared):
    comparison = compared(sides, titles=(f"{LONG}/old", f"{LONG}/new"))
    for path in (report, long_names, comparison):
        page = visit(path, **PHONE)
        page.locator("#filters summary").tap()
        page.locator("#query").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert overhanging(page) == []
        page.locator(".card").first.tap()
        assert overhanging(page, "#view, #view *") == []
        page.keyboard.press("?")
        assert overhanging(page, "#help, #help *") == []


def test_controls_can_be_hit_with_a_finger_and_are_folded_on_a_phone(visit, report):
    page = visit(report, **PHONE)
    assert not page.locator("#query").is_visible()
    assert page.locator(".card").first.bounding_box()["y"] < 640  # a picture can be seen
    page.locator("#filters summary").tap()
    for control in page.locator("button:visible, select:visible, input[type=search]:visible").all():
        assert control.bounding_box()["height"] >= 24  # WCAG 2.2, 2.5.8
    page.set_viewport_size({"width": 1000, "height": 800})
    page.locator("#filters[open]").wait_for()
    assert page.locator("#query").is_visible()


def test_what_has_the_focus_is_not_under_the_controls(visit, report):
    page = visit(report, viewport={"width": 1000, "height": 600})
    page.locator(".card").first.focus()
    page.keyboard.press("End")
    for _ in range(5):
        page.keyboard.press("ArrowUp")
        card, bar = (page.locator(part).bounding_box() for part in (".card:focus", "#controls"))
        assert card["y"] >= bar["y"] + bar["height"]


def test_columns_follow_the_window(visit, report):
    page = visit(report, viewport={"width": 1000, "height": 1200})
    wide = columns(page)
    page.set_viewport_size({"width": 500, "height": 1200})
    page.wait_for_function("wide => Number(grid.style.getPropertyValue('--columns')) < wide", arg=wide)
    boxes = [card.bounding_box() for card in page.locator(".card").all()]
    assert len({round(box["x"]) for box in boxes}) == columns(page)
    assert len({(round(box["x"]), round(box["y"])) for box in boxes}) == len(boxes)  # none upon another
    assert sorted(boxes, key=lambda box: (round(box["y"]), box["x"])) == boxes  # as they are read


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return write(tmp_path_factory.mktemp("many") / "many.html", 20_000)


ANY_CARD_IS_SEEN = """() => [...document.querySelectorAll(".grid li")].some(
    card => card.getBoundingClientRect().top < 700 && card.getBoundingClientRect().bottom > 100
)"""


def test_of_twenty_thousand_pictures_only_those_near_the_screen_are_in_the_page(visit, many):
    page = visit(many, viewport={"width": 1000, "height": 800})
    assert status(page) == "20,000 of 20,000 shown"
    loaded, seen = page.locator(".card").count, set()
    assert 20 < loaded() < 200
    height = page.evaluate("document.documentElement.scrollHeight")
    for part in (0.25, 0.5, 0.75, 1):
        page.evaluate("top => scrollTo(0, top)", part * height)
        page.wait_for_function(ANY_CARD_IS_SEEN)
        seen |= set(names(page))
        assert loaded() < 200
    assert len(seen) > 200
    assert page.evaluate("document.documentElement.scrollHeight") == height  # the scroll bar stays
    page.fill("#query", "p1999")
    assert status(page) == "11 of 20,000 shown"
    assert len(names(page)) == 11


def test_the_keyboard_reaches_pictures_that_are_not_yet_in_the_page(visit, many):
    page = visit(many, viewport={"width": 1000, "height": 800})
    card = page.locator(".card").first
    card.focus()
    first = focused(page)
    page.keyboard.press("End")
    last = page.locator(".card:focus")
    assert last.locator("..").get_attribute("aria-posinset") == "20000"
    assert last.locator("..").get_attribute("aria-setsize") == "20000"
    assert last.locator(".foot b").inner_text() == "1.000"
    page.wait_for_function("name => document.activeElement.querySelector(name)?.complete", arg="img")
    held = focused(page)
    page.evaluate("scrollTo(0, 0)")  # by the wheel: what has the focus keeps it
    page.wait_for_function("name => document.querySelector('.card').title === name", arg=first)
    assert focused(page) == held
    page.keyboard.press("ArrowLeft")
    assert page.locator(".card:focus").locator("..").get_attribute("aria-posinset") == "19999"
