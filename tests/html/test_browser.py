"""The pages in a real browser: what is shown, what the keyboard does, and that nothing is loaded."""

import pytest
from helpers.browsing import (
    columns,
    contrast,
    focused,
    groups,
    luminance,
    names,
    scores,
    status,
    wait_for_focus,
    wait_for_status,
)
from helpers.pages import encoded

from qfm_metric.folder.row import Row
from qfm_metric.html.scores import ReportWriter
from qfm_metric.scale import MAP_COLOURS

pytestmark = pytest.mark.browser


def test_report_opens_worst_first(visit, report):
    page = visit(report)
    assert page.title() == "Fifty"
    assert scores(page) == sorted(scores(page))
    assert len(scores(page)) == 51
    assert status(page) == "53 of 53 shown"
    assert names(page)[-1] == "e1.jpg"
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
    hostile = page.locator(".card", has_text="onerror")
    name, folder = (hostile.locator(part).text_content() for part in (".name", ".folder"))
    assert folder + name == hostile.get_attribute("title")
    assert name == "script><img src=x onerror=\"document.title = 'gone'\">.png"
    hostile.click()
    assert page.locator("#view-name").inner_text() == folder + name
    caption = page.locator("#view-pictures figcaption").inner_text()
    assert caption.startswith("score 0.500 ± 0.125, fair · a <note> · open the file")
    assert page.title() == "Fifty"


def test_sort(visit, report):
    page = visit(report)
    page.select_option("#sort", label="best first")
    assert scores(page) == sorted(scores(page), reverse=True)
    assert page.locator(".card .foot").last.text_content().strip() == "error"
    page.select_option("#sort", label="name")
    assert [name for name in names(page) if name[0] == "p"] == [f"p{i}.jpg" for i in range(50)]  # 2 before 10
    page.select_option("#sort", label="largest picture first")
    assert names(page)[0] == "p49.jpg"


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
    for _ in range(20):
        press("Tab")
        stops.append(focused(page))
    order = names(page)
    assert stops[:4] == ["query", "sort", "low", "high"]
    assert stops.count(order[0]) == 1  # the grid is one stop
    assert not any(name in stops for name in order[1:])
    while focused(page) != order[0]:
        press("Shift+Tab")
    assert page.locator(".card:focus").evaluate("card => getComputedStyle(card).outlineStyle") == "solid"
    assert columns(page) > 3
    press("ArrowRight")
    assert focused(page) == order[1]
    press("ArrowDown")
    assert focused(page) == order[1 + columns(page)]
    press("ArrowUp")
    press("ArrowUp")
    assert focused(page) == order[1]
    press("End")
    assert focused(page) == order[-1]
    press("Home")
    assert focused(page) == order[0]


def test_keyboard_in_the_large_view(visit, report):
    page = visit(report)
    press, order = page.keyboard.press, names(page)
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
    legends = page.locator(".legend")
    assert [legend.is_visible() for legend in legends.all()] == [False, False]
    page.check("#maps")
    assert card.locator("img.map").is_visible()
    assert legends.first.inner_text().split() == ["Quality", "map:", "bad,", "0", "1,", "excellent"]
    ramp = legends.first.locator(".ramp").evaluate("ramp => getComputedStyle(ramp).backgroundImage")
    assert ramp == f"linear-gradient(to right, {', '.join(f'rgb{colour}' for colour in MAP_COLOURS)})"
    card.click()
    assert page.locator("#view img.map").is_visible()
    assert legends.last.is_visible()
    page.uncheck("#view-maps")
    assert not page.locator("#view img.map").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#maps").is_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_can_be_read(visit, report, scheme):
    page = visit(report, color_scheme=scheme)
    page.locator(".card").nth(0).focus()
    page.keyboard.press("k")
    page.locator(".card").nth(1).focus()
    page.keyboard.press("x")
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert ground > 0.8 if scheme == "light" else ground < 0.05
    for selector, around in (
        *(("h1", "body"), ("#status", "body"), ("#save", "#save"), (".said", ".said")),
        *((f".card {text}", ".card") for text in (".name", ".folder", ".foot", ".mark")),
        *((f".card[data-mark={mark}] .mark", ".mark") for mark in ("keep", "reject")),
    ):
        assert contrast(page, selector, around) >= 4.5


def test_comparison(visit, sides, compared):
    page = visit(compared(sides))
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


def test_comparison_without_pairs(visit, sides, compared):
    page = visit(compared(sides, pair=False))
    assert groups(page) == ["A 21", "B 21"]
    assert scores(page) == sorted(scores(page))
    assert len(scores(page)) == 42


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
