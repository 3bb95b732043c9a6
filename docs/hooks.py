"""MkDocs hooks: pages made from files outside docs/, and links that work on the site as they do in the repository."""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

from qfm_metric.card import model_card
from qfm_metric.weights import read_manifest

ROOT = Path(__file__).resolve().parent.parent
# Page -> the file it is made from.
PAGES = {
    "index.md": "README.md",
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside docs/, a model card per entry of the manifest, and the files that pages link to."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    manifest = read_manifest()
    for name, entry in manifest["weights"].items():
        files.append(File.generated(config, f"models/{name}.md", content=model_card(name, entry, name)))
    files.append(File.generated(config, "models/index.md", content=_list_of_models(manifest)))

    pages = [file for file in files if file.is_documentation_page()]
    for source in sorted({found for page in pages for found in _linked(page) if found not in _places(files)}):
        files.append(File.generated(config, f"source/{source}", abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Point links at the pages and copies that stand for files of the repository."""
    places = _places(files)

    def mend(match: re.Match[str]) -> str:
        target = places.get(_resolve(page.file, match[1]) or "")
        return os.path.relpath(target, PurePosixPath(page.file.src_uri).parent) if target else match[1]

    return LINK.sub(mend, markdown)


def _source(file: File) -> str:
    """The file of the repository that a file of the site is made from."""
    return PAGES.get(
        file.src_uri, file.src_uri.removeprefix("source/") if file.generated_by else f"docs/{file.src_uri}"
    )


def _places(files: Files) -> dict[str, str]:
    return {_source(file): file.src_uri for file in files}


def _resolve(file: File, link: str) -> str | None:
    """The file of the repository that a link in a page's source means; None: it means none."""
    path = os.path.normpath(PurePosixPath(_source(file)).parent / link)
    inside = "://" not in link and not path.startswith("..")
    return path if inside and (ROOT / path).is_file() else None


def _linked(page: File) -> set[str]:
    links = LINK.findall(page.content_string)
    return {found for link in links if (found := _resolve(page, link))}


def _list_of_models(manifest: dict[str, Any]) -> str:
    lines = ["# Model cards", "", "How to load and to save weights: [weights](../weights.md).", ""]
    lines += ["| id | licence | bytes |", "|---|---|--:|"]
    for name, entry in manifest["weights"].items():
        default = " (default)" if name == manifest["default"] else ""
        lines.append(f"| [{name}]({name}.md){default} | {entry['licence']} | {entry['bytes']:,} |")
    return "\n".join(lines) + "\n"
