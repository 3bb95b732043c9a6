"""Marks and lists of a page in a real browser: what a user decides, and takes away."""

import pytest
from helpers.browsing import focused, names, status, wait_for_focus, write

from qfm_metric.cull.decide import Decision
from qfm_metric.cull.plan import read_plan
from qfm_metric.folder.row import Row
from qfm_metric.html.scores import write_report

pytestmark = pytest.mark.browser


def marked(page):
    """Name to mark, of the cards that have one."""
    cards = page.locator(".card[data-mark=keep], .card[data-mark=reject]")
    return {card.get_attribute("title"): card.locator(".mark").inner_text() for card in cards.all()}


def mark(page, *keys):
    """Mark pictures from the first one on."""
    page.locator(".card").first.focus()
    for key in keys:
        page.keyboard.press(key)
        page.keyboard.press("ArrowRight")


def saved(page, button):
    """What a button saves: the name of the file, and where it is."""
    with page.expect_download() as download:
        page.locator(button).click()
    return download.value.suggested_filename, download.value.path()


def said(page):
    return page.locator(".said").first.inner_text()


def options(page):
    return [option.inner_text() for option in page.locator("#marked option").all()]


def test_keys_mark_pictures_and_the_browser_keeps_it(visit, report):
    page = visit(report)
    assert not page.locator("#save-marks").is_visible()
    first, second, third, *_ = names(page)
    mark(page, "k", "X", "k", "Shift", "Control+x")
    assert marked(page) == {first: "keep", second: "reject", third: "keep"}
    assert options(page) == ["all 53", "keep 2", "reject 1", "not marked 50"]
    page.reload()
    assert marked(page) == {first: "keep", second: "reject", third: "keep"}
    mark(page, "x", "u")
    assert marked(page) == {first: "reject", third: "keep"}
    assert said(page) == f"{second}: no mark"
    assert page.locator("#save-marks").is_visible()


def test_each_page_has_its_own_marks(visit, report, tmp_path):
    page = visit(report)
    mark(page, "k")
    other = write(tmp_path / "other.html", 2)
    page.goto(other.as_uri())
    assert page.locator(".card").count() == 2
    assert marked(page) == {}
    page.goto(report.as_uri())
    assert len(marked(page)) == 1


def test_what_another_program_has_stored_is_no_mark(visit, report):
    page = visit(report)
    first, second, *_ = names(page)
    for stored in ("no JSON", "3", "null", f'{{"{first}": "<b>", "{second}": "keep"}}'):
        page.evaluate("text => localStorage.setItem('qfm-metric marks ' + location.pathname, text)", stored)
        page.reload()
        assert status(page) == "53 of 53 shown"
        assert marked(page) == ({second: "keep"} if second in stored else {})


def test_a_browser_that_stores_nothing_says_so(visit, report):
    page = visit(report)
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full') } }")
    mark(page, "k")
    assert len(marked(page)) == 1
    assert "forgets marks" in said(page)


def test_pictures_without_a_mark_are_gone_through_one_after_the_other(visit, report):
    page = visit(report)
    order = names(page)
    page.select_option("#marked", "none")
    page.locator(".card").first.focus()
    page.keyboard.press("k")
    assert focused(page) == order[1]
    page.keyboard.press("x")
    assert focused(page) == order[2]
    assert status(page) == "51 of 53 shown"
    page.keyboard.press("Enter")
    page.keyboard.press("x")
    assert page.locator("#view-name").inner_text() == order[3]
    page.keyboard.press("Escape")
    wait_for_focus(page, order[3])
    page.select_option("#marked", "keep")
    assert names(page) == order[:1]
    page.locator(".card").click()
    page.keyboard.press("u")  # the last one goes, and the view with it
    page.locator("#view").wait_for(state="hidden")
    assert page.locator("#nothing").is_visible()


def test_the_large_view_marks_by_keys_and_buttons(visit, report):
    page = visit(report)
    first, second, *_ = names(page)
    page.locator(".card").first.click()
    keep, reject = (page.locator(f"#view-marks [value={value}]") for value in ("keep", "reject"))
    page.keyboard.press("k")
    assert [button.get_attribute("aria-pressed") for button in (keep, reject)] == ["true", "false"]
    page.keyboard.press("ArrowRight")
    assert [button.get_attribute("aria-pressed") for button in (keep, reject)] == ["false", "false"]
    reject.click()
    assert reject.get_attribute("aria-pressed") == "true"
    assert marked(page) == {first: "keep", second: "reject"}
    reject.click()
    assert marked(page) == {first: "keep"}


def test_letters_that_are_typed_mark_nothing(visit, report):
    page = visit(report)
    page.locator("#query").press_sequentially("k?x")
    assert page.locator("#query").input_value() == "k?x"
    page.locator("#query").fill("")
    page.locator("#marked").press("k")
    assert options(page)[1] == "keep 0"
    assert not page.locator("#help").is_visible()


def test_the_question_mark_lists_the_keys(visit, report):
    page = visit(report)
    mark(page, "k")
    held = focused(page)
    page.keyboard.press("?")
    keys = page.locator("#help kbd").all_inner_texts()
    assert {"Tab", "Home", "End", "Enter", "K", "X", "U", "?", "Esc"} <= set(keys)
    page.keyboard.press("x")  # not behind it
    assert set(marked(page).values()) == {"keep"}
    page.keyboard.press("Escape")
    page.locator("#help").wait_for(state="hidden")
    wait_for_focus(page, held)
    page.locator("#keys").click()
    assert page.locator("#help").is_visible()


NAMES = ["plain.png", "=1+1.png", 'a, "b".png', "-x\ty.png", "sub/c.png"]


def test_saved_marks_are_a_plan(visit, tmp_path):
    write_report([Row(f"shoot/{name}", i / 10) for i, name in enumerate(NAMES)], tmp_path / "page.html")
    page = visit(tmp_path / "page.html")
    mark(page, "k", "x", "x", "k", "x")
    name, path = saved(page, "#save-marks")
    assert name == "marks.csv"
    keep, reject = Decision.KEEP, Decision.REJECT
    found = [(planned.decision, planned.row.path, planned.name, planned.row.score) for planned in read_plan(path)]
    shown = [name.replace("\t", "\\t") for name in NAMES]  # a page shows a control character as an escape
    assert found == [
        (decision, f"shoot/{name}", name, i / 10)
        for i, (decision, name) in enumerate(zip([keep, reject, reject, keep, reject], shown, strict=True))
    ]


def test_a_plan_puts_nothing_outside_its_folder(visit, tmp_path):
    write_report(
        [Row("../a.png", 0.1), Row("/b/c.png", 0.2), Row("d/e.png", None, error="broken")], tmp_path / "p.html"
    )
    page = visit(tmp_path / "p.html")
    mark(page, "x", "x", "x")
    plan = read_plan(saved(page, "#save-marks")[1])
    assert [planned.name for planned in plan] == ["a.png", "c.png", "d/e.png"]
    assert plan[2].row.score is None


def test_marks_of_pairs_are_of_both_pictures(visit, sides, compared):
    page = visit(compared(sides))
    mark(page, "x")
    plan = read_plan(saved(page, "#save-marks")[1])
    assert [(planned.row.path, planned.name) for planned in plan] == [
        ("A/x18.png", "A/x18.png"),
        ("B/x18.jpg", "B/x18.png"),
    ]


def test_the_paths_of_what_is_shown_are_saved_and_copied(visit, tmp_path):
    write_report([Row(f"shoot/{name}.png", i / 10) for i, name in enumerate("abcde")], tmp_path / "page.html")
    page = visit(tmp_path / "page.html", permissions=["clipboard-read", "clipboard-write"])
    page.fill("#high", "0.25")
    page.select_option("#sort", label="best first")
    name, path = saved(page, "#save")
    assert name == "paths.txt"
    assert path.read_bytes() == b"shoot/c.png\nshoot/b.png\nshoot/a.png\n"
    page.locator("#copy").click()
    page.wait_for_function("text => document.querySelector('.said').innerText === text", arg="Copied: 3")
    assert page.evaluate("navigator.clipboard.readText()") == "shoot/c.png\nshoot/b.png\nshoot/a.png\n"


def test_a_browser_that_does_not_copy_says_so(visit, report):
    page = visit(report)
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('not allowed') } }")
    page.locator("#copy").click()
    page.wait_for_function("text => document.querySelector('.said').innerText.includes(text)", arg="Save paths")


def test_paths_of_a_pair_are_in_one_line(visit, sides, compared):
    page = visit(compared(sides))
    page.fill("#query", "x7")
    assert saved(page, "#save")[1].read_text() == "A/x7.png\tB/x7.jpg\n"
