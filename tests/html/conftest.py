"""A real browser for pages, and pages for it."""

import shutil

import pytest
from helpers.browsing import write

from qfm_metric.compare import compare_scores
from qfm_metric.folder.row import Row
from qfm_metric.html.comparison import write_comparison

HOSTILE = "<script>document.title = 'gone'</script><img src=x onerror=\"document.title = 'gone'\">.png"
SIZE = {"width": 1000, "height": 1200}  # all 53 pictures of `report` are near the screen


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
    """Opens a page file; afterwards: no error in it, and no request but for what is visited."""
    trouble, requests, contexts = [], [], []

    def visit(path, **options):
        contexts.append(chromium.new_context(**({"viewport": SIZE} | options)))
        contexts[-1].set_default_timeout(120_000)  # a busy machine
        page = contexts[-1].new_page()
        # Chromium chats, too: that a dialog was opened while something had the focus.
        page.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: request.is_navigation_request() or requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert trouble == []
    assert [url for url in requests if not url.startswith("data:")] == []


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """53 pictures: 50 with scores 0, 1/49 ... 1, two errors, one with a hostile name."""
    errors = [Row(f"e{i}.jpg", error="expected a whole picture") for i in range(2)]
    hostile = Row(HOSTILE, 0.5, 0.125, note="a <note>")
    return write(tmp_path_factory.mktemp("report") / "report.html", 50, *errors, hostile)


@pytest.fixture
def sides():
    """B is better by i/100 in pair i, for i up to 20, but for the last two: a tie, and worse."""
    a = {f"x{i}.png": Row(f"A/x{i}.png", 0.4) for i in range(21)}
    b = {f"x{i}.jpg": Row(f"B/x{i}.jpg", 0.4 + i / 100) for i in range(19)}
    return a, b | {"x19.jpg": Row("B/x19.jpg", 0.4), "x20.jpg": Row("B/x20.jpg", 0.3)}


@pytest.fixture
def compared(tmp_path):
    """Writes the page of two sides, and says where it is."""

    def compared(sides, titles=("old <b>", "new"), **options):
        found = compare_scores(*({name: row.score for name, row in side.items()} for side in sides), **options)
        write_comparison(found, *sides, tmp_path / "compare.html", titles=titles, signature="qfm_metric 9.9")
        return tmp_path / "compare.html"

    return compared
