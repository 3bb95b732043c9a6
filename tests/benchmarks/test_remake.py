"""What was computed with the default weights was computed with the weights that are the default now."""

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.documents import CLAIM, OUTPUT

from qfm_metric.weights import read_manifest

ROOT = Path(__file__).parents[2]
SCORE = re.compile(r"\b0\.\d{2}")
NOT_OF_SCORES = {"docs/folder-memory.png"}
OF_ROWS = {"docs/clusters.md", "docs/facts.md"}  # what they print are sizes and facts


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return [importlib.import_module(name) for name in ("artefacts", "remake", "old_to_new")]


def test_nothing_is_stale_that_needs_only_the_weights(modules):
    """`python benchmarks/remake.py` makes it anew."""
    artefacts, remake, _ = modules
    assert remake.stale(remake.choose([]), artefacts.read_record(), read_manifest()) == []


def test_studies_are_of_weights_that_their_documents_name(modules):
    artefacts, remake, _ = modules
    assert remake.unnamed(remake.choose(["studies"]), artefacts.read_record(), ROOT) == []


def test_what_other_weights_made_is_stale(modules):
    artefacts, remake, _ = modules
    manifest = {"default": "new", "weights": {"new": {"sha256": "1" * 64}, "old": {"sha256": "0" * 64}}}
    made = {"weights": "new", "sha256": "1" * 64}
    listed = [artefacts.Artefact(name, "pictures", (f"{name}.jpg",)) for name in ("a", "b", "c")]
    assert remake.stale(listed, dict.fromkeys("abc", made), manifest) == []
    other = {"a": made, "b": made | {"sha256": "2" * 64}}  # another file of the same name, and nobody knows
    assert remake.stale(listed, other, manifest) == ["b", "c"]
    assert remake.stale(listed, dict.fromkeys("abc", made), manifest | {"default": "old"}) == ["a", "b", "c"]


def test_a_document_that_does_not_name_its_weights_is_found(modules, tmp_path):
    artefacts, remake, _ = modules
    study = artefacts.Artefact("study", "studies", ("page.md", "page.jpg"))
    record = {"study": {"weights": "qfm-lite0-v4", "sha256": "0"}}
    (tmp_path / "page.md").write_text("With `qfm-lite0-v4`.\n")
    assert remake.unnamed([study], record, tmp_path) == []
    (tmp_path / "page.md").write_text("With `qfm-lite0-v40`.\n")
    assert remake.unnamed([study], record, tmp_path) == ["page.md: study"]


def test_each_document_that_prints_scores_is_remade(modules):
    printing = set()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        text = path.read_text(encoding="utf-8")
        shell = re.finditer(r"<!-- run -->\n```bash\n.*?\n```", text, re.DOTALL)
        shown = [*CLAIM.findall(text), *(found[1] for block in shell if (found := OUTPUT.match(text, block.end())))]
        if any(map(SCORE.search, shown)):
            printing.add(path.relative_to(ROOT).as_posix())
    assert len(printing) > 5
    assert printing - OF_ROWS <= set(modules[0].DOCUMENTS)


def test_each_picture_of_the_documents_has_what_makes_it(modules):
    made = {file for artefact in modules[0].ARTEFACTS for file in artefact.files}
    pictures = {path.relative_to(ROOT).as_posix() for end in ("jpg", "png") for path in ROOT.glob(f"docs/*.{end}")}
    assert pictures - made == NOT_OF_SCORES
    assert [file for file in made if not (ROOT / file).exists()] == []


def test_commands_and_code_name_weights_that_there_are():
    """Text may tell of weights that have left; what a reader runs may not load them."""
    texts = {
        path: path.read_text(encoding="utf-8")
        for part in ("benchmarks", "examples")
        for path in ROOT.glob(f"{part}/*.py")
    }
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")):
        texts[path] = "\n".join(
            re.findall(r"```(?:bash|python)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        )
    named = {(path.name, found) for path, text in texts.items() for found in re.findall(r"qfm-[a-z0-9]+-v\d+", text)}
    assert len(named) > 3
    assert {name for name in named if name[1] not in read_manifest()["weights"]} == set()


def test_the_record_and_the_list_have_the_same_names(modules):
    artefacts = modules[0]
    assert set(artefacts.read_record()) == {artefact.name for artefact in artefacts.ARTEFACTS if artefact.files}


def test_artefacts_are_chosen_by_name_group_and_file(modules, capsys):
    remake = modules[1]
    assert [found.name for found in remake.choose(["docs/culling.jpg", "report.jpg"])] == [
        "docs/culling.md",
        "report.jpg",
    ]
    assert {found.group for found in remake.choose(["claims", "pictures"])} == {"claims", "pictures"}
    assert not [found for found in remake.choose([]) if found.needs or found.make is None]
    for words, says in (
        (["picturs"], "expected a name, a group or a file"),
        (["severity", "--data", "DATA"], "expected --severity for severity"),
        (["quantiles"], "expected --data and --old"),
        (["--record"], "expected the names"),
    ):
        with pytest.raises(SystemExit):
            remake.parse(words)
        assert says in capsys.readouterr().err


def test_what_is_made_is_noted_and_nothing_else(modules, tmp_path, monkeypatch, capsys):
    artefacts, remake, _ = modules
    made, record = [], tmp_path / "made.json"
    listed = (
        artefacts.Artefact("a.jpg", "pictures", ("a.jpg",), lambda args: made.append("a.jpg")),
        artefacts.Artefact("graph", "browser", (), lambda args: made.append("graph")),
        artefacts.Artefact("study", "studies", ("page.md",), command="study.py"),
    )
    monkeypatch.setattr(artefacts, "RECORD", record)
    for module in (artefacts, remake):
        monkeypatch.setattr(module, "ARTEFACTS", listed)
    remake.main(["--list"])
    assert "stale: unknown weights" in capsys.readouterr().out
    assert not record.exists()
    remake.main([])
    assert made == ["a.jpg", "graph"]
    now = artefacts.default_weights(read_manifest())
    assert artefacts.read_record() == {"a.jpg": now}
    remake.main(["study"])
    assert "by hand: python study.py" in capsys.readouterr().out
    assert artefacts.read_record() == {"a.jpg": now}
    remake.main(["study", "--record"])
    assert artefacts.read_record() == {"a.jpg": now, "study": now}
    assert made == ["a.jpg", "graph"]


def test_goldens_of_weights_that_stay_are_not_touched(modules, tmp_path, monkeypatch):
    """Scores that moved must show: a golden is made for a new id, or if the default's file is another one."""
    artefacts = modules[0]
    manifest, made = {"default": "new", "weights": {"new": {"sha256": "1"}, "stays": {"sha256": "2"}}}, []
    for name in ("new", "stays", "left"):
        (tmp_path / f"{name}.safetensors").touch()
    record = {"goldens": {"weights": "new", "sha256": "1"}}
    monkeypatch.setattr(artefacts, "GOLDENS", tmp_path)
    monkeypatch.setattr(artefacts, "read_manifest", lambda: manifest)
    monkeypatch.setattr(artefacts, "read_record", lambda: record)
    monkeypatch.setattr(artefacts, "run", lambda *words: made.append(words[words.index("--weights") + 1]))
    artefacts.remake_goldens(None)
    assert made == []
    assert {path.stem for path in tmp_path.iterdir()} == {"new", "stays"}
    record["goldens"]["sha256"] = "0"
    artefacts.remake_goldens(None)
    assert made == ["new"]
    (tmp_path / "stays.safetensors").unlink()
    record.clear()
    artefacts.remake_goldens(None)
    assert made == ["new", "new", "stays"]


def test_the_table_of_weights_holds_the_manifests_figures(modules, tmp_path, monkeypatch):
    artefacts = modules[0]
    text = (ROOT / "docs/test-runs.md").read_text(encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/test-runs.md").write_text(re.sub(r"(?m)^(\| `qfm-[^|]+\|).*M \|.*$", r"\1 old |", text))
    monkeypatch.setattr(artefacts, "ROOT", tmp_path)
    artefacts.remake_weights_table(None)
    assert (tmp_path / "docs/test-runs.md").read_text(encoding="utf-8") == text


def test_the_page_of_severity_gets_its_tables_and_the_weights_that_they_are_of(modules, tmp_path, monkeypatch):
    artefacts, text = modules[0], (ROOT / "docs/severity.md").read_text(encoding="utf-8")
    levels = re.search(r"\| data set \|.*?\n(?=\n)", text, re.DOTALL)[0]
    found = {"weights": "new", "KADID-10k": {"n": 125, "srcc": 0.5034, "right": 9, "pairs": 9, "pairs_right": 1.0}}
    found["TID2013"] = {"n": 120, "srcc": 0.4213, "right": 30, "pairs": 60, "pairs_right": 0.5}

    def check(severity, data, *, pictures, workers, out):
        (out / "severity.md").write_text(levels.replace("GBLUR", "blur"), encoding="utf-8")
        (out / "severity.png").write_bytes(b"picture")
        return found

    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "severity.md"
    page.write_text(text, encoding="utf-8")
    monkeypatch.setattr(artefacts, "ROOT", tmp_path)
    monkeypatch.setattr(artefacts.severity_check, "check", check)
    artefacts.remake_severity(SimpleNamespace(severity="people.csv", data="DATA", workers=0))
    expected = text.replace(levels, levels.replace("GBLUR", "blur"))
    expected = re.sub(r"(?m)^`.+?`(?= on six)", "`new`", expected)
    expected = re.sub(r"(?m)^\| KADID-10k \| 125 .*", "| KADID-10k | 125 | .503 | 9 of 9 |", expected)
    expected = re.sub(r"(?m)^\| TID2013 \| 120 .*", "| TID2013 | 120 | .421 | 30 of 60 (50 %) |", expected)
    assert page.read_text(encoding="utf-8") == expected != text
    assert (tmp_path / "docs/severity.png").read_bytes() == b"picture"


def test_a_table_is_replaced_and_what_is_around_it_stays(modules):
    replace = modules[0].replace_table
    text = "Before\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\nAfter | a | b |\n"
    assert replace(text, "| a | b |", "| a | b |\n|---|---|\n| 5 | 6 |") == (
        "Before\n\n| a | b |\n|---|---|\n| 5 | 6 |\n\nAfter | a | b |\n"
    )
    with pytest.raises(ValueError, match="expected one table"):
        replace(text, "| a |", "")


def test_a_threshold_goes_where_as_many_pictures_lie_below(modules):
    old_to_new = modules[2]
    old = np.linspace(0.2, 0.8, 601)
    new = 0.1 + 0.52 * old**2  # in the same order, in another place
    found = old_to_new.same_rank(np.random.default_rng(0).permutation(old), new, (0.1, 0.2, 0.5, 0.9))
    assert found[0] is None  # nobody knows: no picture scores so
    assert found[3] is None
    assert found[1] == pytest.approx((0.2, 0, 0.1208))
    assert found[2] == pytest.approx((0.5, 0.5, 0.23))
    assert old_to_new.markdown(["old", "new"], 601, found).splitlines() == [
        "| `old` | .2 | .5 |",
        "| --- | --: | --: |",
        "| `new` | .12 | .23 |",
        "| below, of 601 pictures | 0.0 % | 50.0 % |",
    ]
