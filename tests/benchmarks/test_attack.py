"""The attack benchmark end to end on tiny networks: what is kept, what is reported, what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from qfm_metric.train.datasets.table import Row, write_table

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUICK = {"pictures": 2, "sample": 4, "side": 64, "steps": 3, "restarts": 2, "ascent": 3, "eps": 2, "threads": 1}
QUICK = [word for name, value in QUICK.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import attack
    import attack_report
    import peer_networks

    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    return attack, attack_report, peer_networks


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Texture of 64 px: the more blurred, the worse; every other picture is for validation."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    rows = []
    for i in range(12):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.3 * i)).save(folder / f"{i}.png")
        rows.append(Row(f"{i}.png", 0.9 - 0.07 * i, split="val" if i % 2 else "train"))
    write_table(rows, folder / "all.csv")
    return folder / "all.csv"


@pytest.fixture
def peer(modules, table, tmp_path):
    """A BRISQUE-like network, trained for a few rounds."""
    peers = modules[2]
    decoded = peers.pictures(table, 64, {"train": 6, "val": 6}, tmp_path)
    torch.manual_seed(0)
    network = peers.Brisque()
    found = peers.train(network, decoded, lambda text: None, rounds=20)
    path = tmp_path / "brisque.safetensors"
    peers.save_file(network.state_dict(), path, {"network": "brisque", "validation_srcc": f"{found:.4f}"})
    return path


def run(attack, table, work, weights, peers=()):
    return attack.main(
        [
            "--data",
            str(table),
            "--work",
            str(work),
            *QUICK,
            "--weights",
            *map(str, weights),
            "--peers",
            *map(str, peers),
        ]
    )


@pytest.mark.slow
def test_a_run_reports_every_pair_and_keeps_what_is_done(modules, table, tiny_files, peer, tmp_path, capsys):
    attack = modules[0]
    work = tmp_path / "work"
    assert run(attack, table, work, tiny_files[:1], [peer]) == 0
    printed = capsys.readouterr()
    found = json.loads((work / "attack.json").read_text())
    names = ["0", "brisque"]
    assert list(found["clean"]) == names
    for made in found["attacked"].values():
        assert {(a, b) for a in made for b in made[a]} == {(a, b) for a in names for b in names}
    assert list(found["attacked"]) == ["eps 2/255", "ascent"]
    figures = found["figures"]["eps 2/255"]
    assert figures["brisque"]["brisque"]["gain"] > 0
    assert figures["0"]["0"]["gain"] > 0
    assert 42 < figures["0"]["0"]["psnr"] < 50  # two grey levels are 42.1 dB where every pixel moves that far
    assert found["figures"]["ascent"]["0"]["0"]["psnr"] > 30
    assert "min left" in printed.err
    assert printed.out.count("\n| brisque |") == 5  # in short, in full twice, and a row in each transfer table
    with Image.open(work / "attack.jpg") as image:
        assert np.asarray(image.convert("L")).std() > 20

    files = {path: path.stat().st_mtime_ns for path in work.glob("*.safetensors")}
    assert len(files) == 2 * 2 * 2 + 2 * 3  # network, attack, picture; and three that are drawn
    assert run(attack, table, work, tiny_files, [peer]) == 0  # one network more
    again = json.loads((work / "attack.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert len(list(work.glob("*.safetensors"))) == 18
    assert again["attacked"]["ascent"]["brisque"]["0"] == found["attacked"]["ascent"]["brisque"]["0"]
    assert "all attacks are kept" in capsys.readouterr().err


@pytest.mark.slow
def test_a_guarded_score_is_attacked_and_so_are_both_its_networks_at_once(modules, table, tiny_files, tmp_path):
    attack, work = modules[0], tmp_path / "work"
    more = ["--weights", str(tiny_files[0]), "--guarded", str(tiny_files[1]), "--margin", "-0.01", "-0.01"]
    assert attack.main(["--data", str(table), "--work", str(work), *QUICK, *more]) == 0
    found = json.loads((work / "attack.json").read_text())
    assert list(found["clean"]) == ["0", "0, guarded", "0 + robust"]
    accurate, guarded, mean = (np.array(found["sample"][name]) for name in found["sample"])
    robust = 2 * mean - accurate
    assert guarded == pytest.approx(np.minimum(accurate, robust - 0.01), abs=2e-4)
    assert {len(made) for made in found["attacked"].values()} == {3}
    networks = [attack.load_networks([tiny_files[0]], [], tiny_files[1], margin)[1] for margin in ((0, 0), (0, 0.1))]
    assert networks[0].digest != networks[1].digest  # other margins are other networks


def test_other_weights_under_a_known_name_are_attacked_anew(modules, table, tiny_files, tmp_path):
    attack = modules[0]
    path = tmp_path / "mine.safetensors"
    digests = []
    for source in tiny_files:
        shutil.copy(source, path)
        digests.append(attack.load_networks([str(path)], [])[0].digest)
    assert digests[0] != digests[1]


def test_down_lowers(modules, table, peer):
    attack = modules[0]
    network = attack.load_networks([], [peer])[0]
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    up, down = (attack.Attack(2, 5, 1, direction)(network.score, image) for direction in (1, -1))
    assert network.score(down) < network.score(image) < network.score(up)
    assert attack.Attack(2, 5, 1, -1).name == "eps 2/255, down"


def test_each_eps_has_its_own_starts(modules, table, peer, tmp_path, capsys):
    more = ["--eps", "1", "2", "--restarts", "1", "3", "--ascent", "0", "--weights", "--peers", str(peer)]
    assert modules[0].main(["--data", str(table), "--work", str(tmp_path), *QUICK, *more]) == 0
    found = json.loads((tmp_path / "attack.json").read_text())
    assert found["settings"]["restarts"] == [1, 3]
    printed = capsys.readouterr()
    assert "each start (1 within 1/255, 3 within 2/255)" in printed.out
    assert "of 24 gradients" in printed.err  # 3 steps from 1 + 3 starts, 2 pictures


def test_figures_are_in_the_judges_deviations(modules):
    report = modules[1]
    found = {
        "clean": {"a": [0.2, 0.4, 0.6], "b": [1.0, 2.0, 3.0]},
        "sample": {"a": [0.0, 0.2], "b": [0.0, 4.0]},
        "attacked": {
            "eps 2/255": {"a": {"a": [0.8, 0.4, 0.6], "b": [2.0, 3.0, 4.0]}},
            "eps 2/255, down": {"a": {"a": [0.1, 0.3, 0.5]}},
        },
        "psnr": {"eps 2/255": {"a": [40.0, 41.0, 42.0]}, "eps 2/255, down": {"a": [40.0, 40.0, 40.0]}},
    }
    own = report.figures(found, "eps 2/255", "a", "a")
    assert own["gain"] == pytest.approx(0.2)
    assert own["gain_sd"] == pytest.approx(2.0)
    assert own["share"] == pytest.approx(1 / 3)
    assert own["order"] == pytest.approx(-0.5)
    assert own["psnr"] == pytest.approx(41)
    assert report.figures(found, "eps 2/255", "a", "b")["gain_sd"] == pytest.approx(0.5)
    assert report.figures(found, "eps 2/255, down", "a", "a")["gain"] == pytest.approx(0.1)


def test_the_page_keeps_what_is_around_the_tables(modules, tmp_path):
    report, page = modules[1], tmp_path / "page.md"
    page.write_text(f"before\n\n{report.START}\nold\n{report.END}\nafter\n")
    report.replace_section(page, "| new |")
    assert page.read_text() == f"before\n\n{report.START}\n\n| new |\n\n{report.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="expected the lines"):
        report.replace_section(page, "| new |")


def test_the_documents_page_has_the_marks(modules):
    report = modules[1]
    page = (BENCHMARKS.parent / "docs" / "attacks.md").read_text(encoding="utf-8")
    assert page.index(report.START) < page.index(report.END)


@pytest.mark.parametrize("name", ["brisque", "cnniqa", "probe"])
def test_peers_score_each_picture_by_itself_with_finite_gradients(modules, name):
    torch.manual_seed(0)
    network = modules[2].NETWORKS[name]().eval()
    flat = torch.stack([torch.zeros(3, 64, 96), torch.ones(3, 64, 96), torch.rand(3, 64, 96)]).requires_grad_(True)
    scores = network(flat)
    scores.sum().backward()
    assert scores.shape == (3,)
    assert flat.grad.isfinite().all()
    assert flat.grad[2].abs().max() > 0
    assert torch.allclose(scores[2], network(flat[2:].detach())[0], atol=1e-4)


def test_a_peer_learns_and_comes_back_the_same(modules, peer):
    peers = modules[2]
    network = peers.load_peer(peer)
    assert float(peers.about(peer)["validation_srcc"]) > 0.8  # blur is what BRISQUE is for
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(network(image), peers.load_peer(peer)(image))
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_cnniqa_learns_from_patches(modules, table, tmp_path):
    peers = modules[2]
    torch.manual_seed(0)
    network = peers.CNNIQA()
    decoded = peers.pictures(table, 64, {"train": 6, "val": 6}, tmp_path)
    assert peers.train(network, decoded, lambda text: None, rounds=15) > 0.5
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("weights", "peers", "message"),
    [
        (["nonsense-v9"], [], "nonsense-v9"),
        ([], ["missing.safetensors"], "train one with peer_networks.py"),
        (["tiny_file"], ["tiny_file"], "not written by peer_networks.py"),
        (["tiny_file", "tiny_file"], [], "told apart by name"),
        (["tiny_file", "--guarded", "nonsense-v9"], [], "nonsense-v9"),
        (
            ["tiny_file", "--guarded", "tiny_file", "--margin", "2", "0"],
            [],
            "margin: expected two numbers from -1 to 1",
        ),
    ],
)
def test_what_cannot_be_attacked_is_named(modules, table, tiny_files, tmp_path, capsys, weights, peers, message):
    named = [[tiny_files[0] if name == "tiny_file" else name for name in names] for names in (weights, peers)]
    assert run(modules[0], table, tmp_path, *named) == 2
    assert message in capsys.readouterr().err


def test_no_pictures_is_an_error(modules, tiny_files, tmp_path, capsys):
    write_table([Row("a.png", 0.5, split="train")], tmp_path / "train.csv")
    assert run(modules[0], tmp_path / "train.csv", tmp_path, tiny_files[:1]) == 2
    assert "no pictures with split val" in capsys.readouterr().err
    assert run(modules[0], tmp_path / "missing.csv", tmp_path, tiny_files[:1]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", ["--pictures 0", "--side 8", "--eps 0", "--pictures 9", "--weights", "--restarts 1 3", "--restarts 0"]
)
def test_wrong_numbers_are_refused(modules, table, tmp_path, wrong):
    with pytest.raises(SystemExit):
        modules[0].main(["--data", str(table), "--work", str(tmp_path), *QUICK, *wrong.split()])
