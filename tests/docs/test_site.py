"""The documentation site builds without a warning, loads nothing from elsewhere, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from qfm_metric.weights import read_manifest

ROOT = Path(__file__).parents[2]


class Links(HTMLParser):
    """What a page loads (scripts, styles, pictures, fonts) and what it links to."""

    def __init__(self, page):
        super().__init__()
        self.loads, self.links = [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given["href"])
        elif given.get("src"):
            self.loads.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}  # 404: absolute, for a host


def target(page, link):
    path = page.parent / unquote(urlsplit(link).path)
    return path / "index.html" if path.is_dir() else path


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for page, found in pages.items():
        assert found.loads
        assert [link for link in found.loads if urlsplit(link).netloc] == [], page
    styles = list(site.rglob("*.css"))
    assert styles
    assert [style for style in styles if re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", style.read_text())] == []


def test_links_lead_somewhere(pages):
    dead = [
        (page, link)
        for page, found in pages.items()
        for link in [*found.links, *found.loads]
        if not urlsplit(link).scheme and not target(page, link).exists()
    ]
    assert dead == []


def test_pages_from_elsewhere_are_there(site):
    assert "qfm_metric" in (site / "index.html").read_text(encoding="utf-8")
    for name, entry in read_manifest()["weights"].items():
        assert entry["sha256"] in (site / "models" / name / "index.html").read_text(encoding="utf-8")
    copied = ROOT / "qfm_metric/train/recipes/default.toml"
    assert (site / "source/qfm_metric/train/recipes/default.toml").read_bytes() == copied.read_bytes()
    api = "".join((page / "index.html").read_text(encoding="utf-8") for page in site.glob("api*"))
    for name in (
        "QFMScore.assess",
        "loss.QFMLoss",
        "stream.score_files",
        "row.Row",
        "export.export_onnx",
        "evaluate.QFM",
    ):
        assert re.search(rf'id="qfm_metric\.[\w.]*{re.escape(name)}"', api), name
