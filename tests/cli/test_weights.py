"""`qfm-metric weights`: what it prints, and how it ends."""

import hashlib
import json

import pytest
from helpers.pictures import grey

from qfm_metric import cli, hub
from qfm_metric.weights import EMBEDDED, read_manifest, save_weights


@pytest.fixture
def default():
    return read_manifest()["default"]


@pytest.fixture
def entry(default):
    return read_manifest()["weights"][default]


@pytest.fixture
def known(monkeypatch, entry, default):
    """A manifest with two more ids: one on the Hub, one that is gone; the Hub is out of reach."""
    pinned = {"repo_id": "org/name", "revision": "0" * 40, "filename": "model.safetensors"}
    manifest = json.loads(json.dumps(read_manifest()))
    manifest["weights"] = {
        "gone": entry | {"file": None, "sha256": "1" * 64},
        "remote": entry | pinned | {"file": None, "sha256": "2" * 64},
        default: entry,
    }
    for module in ("hub", "weights", "cli.weights"):
        monkeypatch.setattr(f"qfm_metric.{module}.read_manifest", lambda: manifest)
    return manifest["weights"]


def test_list(known, default, entry, tmp_path, capsys):
    assert cli.main(["weights", "list", "--cache-dir", str(tmp_path)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [[default, "package"], ["gone", "absent"], ["remote", "hub"]]
    assert rows[0][2:] == [str(entry["bytes"]), entry["licence"], entry["sha256"]]


def test_weights_of_other_terms_are_listed_and_verified_where_the_checkout_has_them(
    known, tmp_path, monkeypatch, capsys
):
    (tmp_path / "other.safetensors").write_bytes(b"damaged")
    known["remote"] |= {"file": "other.safetensors", "licence": "CC-BY-NC-4.0"}
    monkeypatch.setattr("qfm_metric.weights.IN_CHECKOUT", tmp_path)
    assert cli.main(["weights", "list"]) == 0
    assert "remote\tcheckout\t" in capsys.readouterr().out
    assert cli.main(["weights", "verify"]) == 1
    assert "error\tremote\t" in capsys.readouterr().out


def test_list_knows_the_cache(known, tmp_path, capsys):
    cached = tmp_path / "models--org--name" / "snapshots" / ("0" * 40) / "model.safetensors"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    assert cli.main(["weights", "list", "--cache-dir", str(tmp_path)]) == 0
    assert "remote\tcache\t" in capsys.readouterr().out
    assert cli.main(["weights", "path", "remote", "--cache-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{cached}\n"
    for arguments in (["verify"], ["download", "remote"]):
        assert cli.main(["weights", *arguments, "--cache-dir", str(tmp_path)]) == 1
        out, err = capsys.readouterr()
        assert f"got 7 in {cached}" in out + err


@pytest.mark.parametrize("command", ["path", "download"])
def test_path_and_download_print_the_file_of_the_package(command, default, entry, capsys):
    for sources in ([], [default]):
        assert cli.main(["weights", command, *sources]) == 0
        assert capsys.readouterr().out == f"{EMBEDDED / entry['file']}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["path", "remote"], "not in the cache"),
        (["path", "gone"], "not in this installation"),
        (["download", "remote"], "cannot download from"),
        (["download", "qfm-nothing"], "unknown weights"),
    ],
)
def test_what_is_not_there(known, tmp_path, capsys, arguments, says):
    assert cli.main(["weights", *arguments, "--cache-dir", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("qfm-metric: ")
    assert says in err


def test_verify(known, default, entry, tmp_path, capsys):
    assert cli.main(["weights", "verify"]) == 0
    assert capsys.readouterr().out == f"ok\t{default}\t{default}\t{entry['sha256']}\n"
    copy, other = tmp_path / "copy.safetensors", tmp_path / "other.safetensors"
    copy.write_bytes((EMBEDDED / entry["file"]).read_bytes())
    save_weights(other, {}, {}, None)
    grey(photo := tmp_path / "photo.jpg", 100)
    sources = [str(copy), str(other), "remote", str(photo)]
    assert cli.main(["weights", "verify", *sources, "--cache-dir", str(tmp_path)]) == 1
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["ok", str(copy), default, entry["sha256"]]
    assert rows[1] == ["unknown", str(other), "-", hashlib.sha256(other.read_bytes()).hexdigest()]
    assert rows[2][:2] == ["error", "remote"]
    assert rows[3][:2] == ["error", str(photo)]


def test_a_row_of_verify_is_a_line_whatever_the_name(capsys):
    assert cli.main(["weights", "verify", "a\nb\tc"]) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert line.split("\t")[:2] == ["error", r"a\nb\tc"]


def test_download_prints_no_file_that_holds_no_weights(tmp_path, capsys):
    grey(photo := str(tmp_path / "photo.jpg"), 100)
    assert cli.main(["weights", "download", photo]) == 1
    out, err = capsys.readouterr()
    assert (out, "not a safetensors file" in err) == ("", True)


def test_token_is_sent_on_request_only(default, monkeypatch, capsys):
    tokens = []

    def find(source, *, cache_dir, token):
        tokens.append(token)
        return hub.find_weights(source)

    monkeypatch.setattr("qfm_metric.cli.weights.find_weights", find)
    assert cli.main(["weights", "download", default]) == 0
    assert cli.main(["weights", "download", default, "--use-token"]) == 0
    assert tokens == [False, True]
