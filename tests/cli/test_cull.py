"""`qfm-metric cull`: a plan, what it moves, and bringing it back."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from helpers.pages import read_page
from helpers.pictures import dated, grey
from helpers.processes import command

from qfm_metric.cli import main
from qfm_metric.cull import apply
from qfm_metric.cull.plan import read_plan
from qfm_metric.folder.formats import FORMATS


@pytest.fixture
def pictures(mean):
    """f/0.png (black) to f/4.png, each .2 better than the one before, and a broken one."""
    Path("f").mkdir()
    for i in range(5):
        grey(f"f/{i}.png", 51 * i)
    Path("f/broken.png").write_text("no picture")


def decisions(path="cull-plan.csv"):
    return {planned.name: planned.decision.value for planned in read_plan(path)}


PLAN = {"0.png": "reject", "1.png": "reject", "2.png": "look", "3.png": "keep", "4.png": "keep", "broken.png": "look"}


def test_a_plan_of_a_folder(pictures, capsys):
    assert main(["cull", "f", "--html", "page.html"]) == 1
    said = capsys.readouterr()
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert lines[0] == ["reject", "0.0000", "f/0.png", "score 0.0000 < 0.4"]
    assert lines[4] == ["keep", "0.8000", "f/4.png"]
    assert lines[5][:3] == ["look", "error", "f/broken.png"]
    assert said.err == "qfm-metric: 2 keep, 2 look, 2 reject; the plan is cull-plan.csv\n"
    assert decisions() == PLAN
    text, head, cards = read_page(Path("page.html"))
    assert {card["name"]: head["groups"][card["group"]]["name"] for card in cards} == PLAN
    assert [card["name"] for card in cards] == list(PLAN)  # worst first, then what could not be scored
    assert "normal: keep from 0.6, look from 0.4" in text
    assert sorted(os.listdir("f")) == sorted(PLAN)


def test_a_plan_of_scores_is_that_of_the_folder(pictures):
    main(["f", "--csv", "-o", "scores.csv"])
    assert main(["cull", "scores.csv"]) == 1
    assert decisions() == PLAN
    assert main(["report", "cull-plan.csv"]) == 0  # a plan is a table of scores, too


def test_thresholds_follow_the_options(pictures):
    main(["cull", "f", "--keep", "strict"])
    assert [*decisions().values()] == ["reject", "reject", "reject", "look", "keep", "look"]
    main(["cull", "f", "--require", "score > .2, width >= 8"])
    assert [*decisions().values()] == ["reject", "reject", "keep", "keep", "keep", "look"]


def test_apply_follows_the_edited_plan_and_undo_brings_all_back(pictures, capsys):
    main(["cull", "f"])
    Path("f/1.xmp").write_text("sidecar")
    text = Path("cull-plan.csv").read_text().replace("reject,f/0.png", "keep,f/0.png")
    Path("cull-plan.csv").write_text(text)
    capsys.readouterr()
    assert main(["cull", "--apply", "cull-plan.csv", "--to", "out"]) == 0
    assert capsys.readouterr().err == (
        "qfm-metric: 2 files moved, 0 in place already, 0 problems\n"
        "qfm-metric: to take it back: qfm-metric cull --undo cull-plan.csv.undo\n"
    )
    assert sorted(os.listdir("out/reject")) == ["1.png", "1.xmp"]
    assert main(["cull", "--undo", "cull-plan.csv.undo"]) == 0
    assert sorted(os.listdir("f")) == sorted([*PLAN, "1.xmp"])
    assert not os.path.exists("out")


def test_links_of_all_decisions(pictures):
    main(["cull", "f"])
    assert main(["cull", "--apply", "cull-plan.csv", "--to", "out", "--link"]) == 0
    assert sorted(os.listdir("out")) == ["keep", "look", "reject"]
    assert os.path.samefile("out/look/broken.png", "f/broken.png")


def test_a_problem_is_told_and_the_status_says_so(pictures, capsys):
    main(["cull", "f"])
    os.unlink("f/0.png")
    capsys.readouterr()
    assert main(["cull", "--apply", "cull-plan.csv", "--to", "out"]) == 1
    assert "left as it is: " in capsys.readouterr().err


@pytest.fixture
def bursts(mean):
    """Two bursts, of bright pictures and of dark ones, a copy without a time, and one that is alone."""
    for name, second, level in [
        ("a", 0, 200),
        ("b", 1, 205),
        ("c", 2, 80),
        ("d", 3, 78),
        ("e", 4, 210),
        ("f", 900, 200),
    ]:
        dated(f"f/{name}.png", f"2024:05:01 12:{second // 60:02}:{second % 60:02}", level=level)
    grey("f/g.png", 201)


def grouped(path="cull-plan.csv"):
    return {
        planned.name[0]: (planned.row.value("group"), planned.row.value("group_rank")) for planned in read_plan(path)
    }


GROUPS = {"a": (1, 4), "b": (1, 2), "c": (2, 1), "d": (2, 2), "e": (1, 1), "f": (3, 1), "g": (1, 3)}


def test_groups_of_a_folder_are_in_the_plan_and_on_its_page(bursts):
    assert main(["cull", "f", "--group", "--html", "page.html"]) == 0
    assert grouped() == GROUPS
    assert set(decisions().values()) == {"keep", "reject"}  # by their scores alone
    text, head, cards = read_page(Path("page.html"))
    assert [(card["name"][0], card["pictures"][0].get("label")) for card in cards] == [
        ("e", "group 1: 1 of 4"),
        ("b", "group 1: 2 of 4"),
        ("g", "group 1: 3 of 4"),
        ("a", "group 1: 4 of 4"),
        ("c", "group 2: 1 of 2"),
        ("d", "group 2: 2 of 2"),
        ("f", None),
    ]
    assert head["sorts"][:2] == [["groups first", "order"], ["worst first", "rising"]]
    assert "<th>groups</th><td>2, of 6 pictures</td>" in text


def test_without_being_asked_a_plan_has_no_groups(bursts):
    main(["cull", "f"])
    assert Path("cull-plan.csv").read_text().startswith("decision,path,score,std,why,width,height,error,note,name\n")


def test_the_best_of_each_group_are_kept(bursts, capsys):
    assert main(["cull", "f", "--require", "score > 0", "--keep-best", "1", "--html", "page.html"]) == 0
    assert [name[0] for name, decision in decisions().items() if decision == "keep"] == ["c", "e", "f"]
    assert "reject\t0.3059\tf/d.png\t2 of 2 in group 2, after f/c.png" in capsys.readouterr().out
    assert "; at most 1 of a group" in Path("page.html").read_text()
    main(["cull", "f", "--require", "score > 0", "--keep-best", "2"])
    assert [name[0] for name, decision in decisions().items() if decision == "keep"] == ["b", "c", "d", "e", "f"]
    main(["cull", "f", "--require", "group_rank < 2"])
    assert [name[0] for name, decision in decisions().items() if decision == "keep"] == ["c", "e", "f"]


@pytest.mark.parametrize("form", FORMATS)
def test_scores_that_were_written_with_groups_can_be_culled_by_them(bursts, form):
    main(["f", "--group", f"--{form}", "-o", f"scores.{form}"])
    assert main(["cull", f"scores.{form}", "--keep-best", "1"]) == 0
    assert grouped() == GROUPS
    assert [name[0] for name, decision in decisions().items() if decision == "keep"] == ["e", "f"]


def test_scores_without_groups_are_refused_where_groups_are_asked_for(bursts, capsys):
    main(["f", "--csv", "-o", "scores.csv"])
    for words in (["--group"], ["--keep-best", "1"]):
        with pytest.raises(SystemExit) as ended:
            main(["cull", "scores.csv", *words])
        assert ended.value.code == 2
        assert "score again with qfm-metric PATH... --group, or cull the folder" in capsys.readouterr().err
    assert not os.path.exists("cull-plan.csv")


def test_what_is_known_of_no_picture_is_for_a_person_to_look_at_and_no_score_is_lost(pictures, capsys):
    assert main(["cull", "f", "--require", "jpeg_quality > 80"]) == 1  # one is broken
    assert set(decisions().values()) == {"look"}
    assert "not known: jpeg_quality" in Path("cull-plan.csv").read_text()
    assert main(["f", "--csv", "-o", "s.csv"]) == 1  # one is broken
    with pytest.raises(SystemExit):  # the table was made without
        main(["cull", "s.csv", "--require", "jpeg_quality > 80"])
    assert "jpeg_quality: expected a column that is known of some picture" in capsys.readouterr().err


def test_a_picture_that_has_several_rows_is_in_the_plan_once_as_the_last_one_says(pictures, capsys):
    Path("s.jsonl").write_text(
        "".join(
            f'{{"path": "{path}", "score": {score}, "group": 1}}\n'
            for path, score in (("f/0.png", 0.9), ("f/1.png", 0.8), ("./f/0.png", 0.1))
        )
    )
    assert main(["cull", "s.jsonl", "--keep-best", "1"]) == 0
    assert decisions() == {"f/0.png": "reject", "f/1.png": "keep"}
    assert "1 rows are of pictures that have another row further down, which is taken" in capsys.readouterr().err
    assert main(["cull", "--apply", "cull-plan.csv", "--to", "out"]) == 0
    assert os.listdir("out/reject/f") == ["0.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["f", "--require", "sharpness > .1"], "--require: expected one of banding, bits, blocks"),
        (["f", "--require", "lowest > .1"], "--require: lowest: expected scores of tiles"),
        (["f", "--require", "score"], "--require: expected conditions such as"),
        (["f", "--require", "score > .1", "--keep", "strict"], "not allowed with argument"),
        (["f/0.png"], "f/0.png: expected a folder or a file of scores"),
        (["f", "-o", "mine.csv"], "mine.csv: it is there and is no file of this kind"),
        (["f", "--to", "out"], "expected --apply"),
        (["f", "--keep-best", "0"], "--keep-best: expected at least 1, got 0"),
        (["--apply", "mine.csv"], "expected --to DIR"),
        (["--apply", "mine.csv", "--to", "out"], "expected the column 'decision'"),
        (["--apply", "mine.csv", "--to", "mine.csv"], "--to: expected a folder, got a file: mine.csv"),
        (["--undo", "mine.csv"], "expected an undo file"),
        (["--undo", "gone.undo"], "gone.undo: expected an undo file, found none: all may be back"),
        (["--undo", "f"], "f: expected an undo file, found Is a directory"),
        (["--apply", "gone.csv", "--to", "out"], "gone.csv: expected a plan of qfm-metric cull: No such file"),
        (["gone.csv"], "cull: gone.csv: No such file"),
    ],
)
def test_wrong_usage_is_told_and_changes_nothing(pictures, capsys, words, says):
    Path("mine.csv").write_text("path,score\nf/0.png,0.1\n")
    with pytest.raises(SystemExit) as ended:
        main(["cull", *words])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
    assert sorted(os.listdir()) == ["f", "mine.csv"]


def test_an_interrupted_plan_leaves_nothing(pictures, mean, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(mean, "rate", interrupted)
    assert main(["cull", "f", "--html", "page.html"]) == 130
    said = capsys.readouterr()
    assert (said.out, os.listdir()) == ("", ["f"])
    assert said.err.startswith("qfm-metric: interrupted; nothing is kept: score what takes long with qfm-metric FOLDER")


def test_interrupted_moves_go_on_and_come_back(pictures, monkeypatch, capsys):
    """Before each of two files, and behind it; on the way out and on the way back."""
    assert main(["cull", "f"]) == 1
    move, moves, before = apply.move, [], sorted(os.listdir("f"))

    def interrupted(*arguments):
        moves.append(arguments)
        if len(moves) % 2:
            raise KeyboardInterrupt
        move(*arguments)
        if len(moves) % 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(apply, "move", interrupted)
    for words in (["--apply", "cull-plan.csv", "--to", "out"], ["--undo", "cull-plan.csv.undo"]):
        statuses = [main(["cull", *words])]
        while statuses[-1] == 130 and len(statuses) < 9:
            assert capsys.readouterr().err.endswith("qfm-metric: interrupted; the same command goes on\n")
            statuses.append(main(["cull", *words]))
        assert statuses == [130, 130, 130, 0]
        assert len(os.listdir("out/reject")) == 2 if "--apply" in words else not os.path.exists("out")
    assert sorted(os.listdir("f")) == before


@pytest.mark.slow
def test_processes_killed_at_random_times_lose_nothing():
    """Real processes and SIGKILL; each goes on where the one before was, then everything is brought back."""
    names = [f"{i:04d}" for i in range(1500)]
    Path("f").mkdir()
    for name in names:
        Path(f"f/{name}.jpg").write_text(name)
        Path(f"f/{name}.xmp").write_text(f"sidecar of {name}")
    rows = "".join(f"reject,f/{name}.jpg,0.1,{name}.jpg\n" for name in names)
    Path("plan.csv").write_text("decision,path,score,name\n" + rows)
    rng, killed = random.Random(time.time_ns()), 0
    for words in (["--apply", "plan.csv", "--to", "to"], ["--undo", "plan.csv.undo"]):
        moved = 0
        for _ in range(2):
            process = command("cull", *words, stderr=-1)
            goal = moved + rng.randint(1, 1000)
            while process.poll() is None and (moved := changed(words)) < goal:
                time.sleep(0.0005)
            process.kill()
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
            check_each_is_in_one_place(names)
        process = command("cull", *words, stderr=-1, text=True)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        check_each_is_in_one_place(names)
        left = len(os.listdir("f"))
        assert left == (0 if words[0] == "--apply" else 3000)
    assert killed >= 2
    assert not os.path.exists("to")


def changed(words):
    left = len(os.listdir("f"))
    return 3000 - left if words[0] == "--apply" else left


def check_each_is_in_one_place(names):
    steps = (
        [json.loads(line) for line in Path("plan.csv.undo").read_text().splitlines()]
        if os.path.exists("plan.csv.undo")
        else []
    )
    targets = {step["from"]: step["to"] for step in steps if "from" in step}
    for name in names:
        for file, content in ((f"f/{name}.jpg", name), (f"f/{name}.xmp", f"sidecar of {name}")):
            source = os.path.abspath(file)
            places = [path for path in (source, targets.get(source)) if path and os.path.exists(path)]
            assert len(places) == 1, (file, places)
            assert Path(places[0]).read_text() == content
