"""What a page of thousands of pictures costs whoever looks at it, in headless Chromium, step by step.

    python benchmarks/page_speed.py --pictures 20000

Processor seconds of the page's main thread, the longest task (what takes more than 50 ms is felt) and the elements that
are in the page after each step. The pictures are generated; their number and their bytes are what counts.
"""

import argparse
import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import CDPSession, Page, sync_playwright

from qfm_metric.defects import NAMES
from qfm_metric.folder.row import Row
from qfm_metric.html.scores import ReportWriter

DIFFERENT = 40  # thumbnails, under many names
LONG_TASKS = """window.tasks = []; new PerformanceObserver(
    list => tasks.push(...list.getEntries().map(entry => entry.duration))).observe({entryTypes: ["longtask"]})"""
SCROLL = """async ([steps, by]) => { for (let i = 0; i < steps; i++) {
    scrollBy(0, by * document.body.scrollHeight || 400); await new Promise(requestAnimationFrame) } }"""
CHOOSE = """([id, value]) => { const box = document.getElementById(id); box.value = value;
    box.dispatchEvent(new Event("input", {bubbles: true})) }"""
STEPS: Sequence[tuple[str, str, Any]] = (
    ("scroll by 400 px, 120 times", SCROLL, [120, 0]),
    ("jump to 19 places", SCROLL, [19, 0.05]),
    ("filter by name", CHOOSE, ["query", "img_1"]),
    ("take the filter away", CHOOSE, ["query", ""]),
    ("best first", CHOOSE, ["sort", "falling"]),
    ("by name, numbers as such", CHOOSE, ["sort", "name"]),
    ("worst defect first", CHOOSE, ["sort", "defect"]),
)


def thumbnails() -> list[bytes]:
    """JPEGs of 128 x 96 px, of about 2 kB each."""
    rng, found = np.random.default_rng(0), []
    for _ in range(DIFFERENT):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
            (128, 96), Image.Resampling.BICUBIC
        )
        grain = np.asarray(coarse) + rng.normal(0, 7, (96, 128, 3))
        encoded = io.BytesIO()
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=60)
        found.append(encoded.getvalue())
    return found


def write_page(path: Path, count: int) -> None:
    small = thumbnails()
    with ReportWriter(path, limit=count) as report:
        for i in range(count):
            defects = {NAMES[i % len(NAMES)]: 0.1 + i % 50 / 100}
            row = Row(
                f"holiday/day {i % 30}/IMG_{i:05}.jpg",
                i * 7919 % count / count,
                None,
                4000,
                3000 + i % 9,
                extra=defects,
            )
            report.add(row, small[i % DIFFERENT])


def spent(session: CDPSession) -> float:
    """Processor seconds of the main thread until now."""
    return next(m["value"] for m in session.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration")


def tell(page: Page, session: CDPSession, step: str, before: float) -> float:
    """Print what a step took; returns what is spent until now."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))")
    now, longest = spent(session), max(page.evaluate("tasks.splice(0)"), default=0)
    elements = page.locator("*").count()
    print(f"{step:36} {now - before:6.2f} s   longest task {longest:5.0f} ms   {elements:,} elements", flush=True)
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        write_page(path, args.pictures)
        print(f"{args.pictures:,} pictures, {path.stat().st_size / 1e6:.1f} MB")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(0)
        page.add_init_script(LONG_TASKS)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = spent(session)
        page.goto(path.as_uri())
        before = tell(page, session, "open", before)
        for step, script, argument in STEPS:
            page.evaluate(script, argument)
            before = tell(page, session, step, before)
        browser.close()


if __name__ == "__main__":
    main()
