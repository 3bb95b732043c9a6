"""Weights files and the manifest: found, verified, or refused with a reason."""

import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from qfm_metric import QFMScore, WeightsError
from qfm_metric.config import QFMConfig
from qfm_metric.guard import ROBUST
from qfm_metric.hub import load_weights
from qfm_metric.model import QFMNet
from qfm_metric.weights import CONFIG_KEY, EMBEDDED, LICENCE, local_file, read_manifest, save_weights

TINY = {"backbone": "mobilenetv3_small_050", "dim": 32, "heads": 2}


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_weights(path, TINY, QFMNet(QFMConfig(**TINY)).state_dict(), torch.float32)
    return path


def test_manifest_describes_the_embedded_files():
    manifest = read_manifest()
    assert manifest["default"] in manifest["weights"]
    for name, entry in manifest["weights"].items():
        data = local_file(entry).read_bytes()
        assert entry["bytes"] == len(data) <= 12 * 2**20
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["licence"]
        assert all(part["name"] and part["terms"] for part in entry["training_data"])
        figures = entry["figures"]["BIQ2021 test" if entry["licence"] == LICENCE else "AGIQA-3K test"]
        assert figures["srcc"] > (0.7 if name == ROBUST else 0.8)  # robustness costs accuracy
        assert entry["figures"]["command"].startswith("python -m qfm_metric.train evaluate")
        assert load_weights(name).id == name


def test_no_file_without_an_entry():
    assert {path.name for path in EMBEDDED.iterdir()} == {
        e["file"] for e in read_manifest()["weights"].values() if e["file"] and e["licence"] == LICENCE
    }


def test_embedded_weights_are_half_precision(metric):
    stored = load_file(EMBEDDED / read_manifest()["weights"][metric.weights_id]["file"])
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    for name, tensor in metric.net.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor.half(), stored[name])


def test_path_and_id_give_the_same_metric(metric, random_images):
    path = EMBEDDED / read_manifest()["weights"][metric.weights_id]["file"]
    for source in (metric.weights_id, path, str(path)):
        other = QFMScore.from_pretrained(source)
        assert other.weights_id == metric.weights_id
        assert torch.equal(other(random_images), metric(random_images))


def test_a_file_alone_suffices(tiny_file, random_images):
    metric = QFMScore.from_pretrained(tiny_file)
    assert metric.weights_id == "tiny.safetensors"
    assert metric.net.config == QFMConfig(**TINY)
    again = QFMScore.from_pretrained(str(tiny_file))
    assert torch.equal(again(random_images), metric(random_images))


def test_building_from_a_file_needs_no_network_and_no_random_numbers(tiny_file):
    state = torch.random.get_rng_state()
    QFMScore.from_pretrained(tiny_file)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("qfm-lite0-vO", "did you mean 'qfm-lite0-v"),
        ("entirely else", "known ids: "),
        ("missing.safetensors", "cannot read weights"),
        ("some/where/else", "cannot read weights"),
        ("./qfm-lite0", "cannot read weights"),  # a path, for all that it resembles an id
        ("null\0.safetensors", "cannot read weights"),
        (os.devnull, "cannot read weights"),
        ("~nobody-of-this-name/w.safetensors", "cannot read weights"),
        ("x" * 300 + ".safetensors", "cannot read weights"),  # a name that no file system takes
    ],
)
def test_unknown_sources(source, says):
    with pytest.raises(WeightsError, match=says):
        load_weights(source)


def test_an_empty_folder_holds_no_weights(tmp_path):
    with pytest.raises(WeightsError, match=r"model\.safetensors: cannot read"):
        load_weights(tmp_path)


@pytest.mark.parametrize("embedded", [True, False])
def test_saved_folder_is_read_back_bit_exactly(metric, tiny_file, random_images, tmp_path, embedded):
    saved = metric if embedded else QFMScore.from_pretrained(tiny_file)
    folder = tmp_path / "new" / "saved"
    saved.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    for source in (folder, str(folder), folder / "model.safetensors"):
        again = QFMScore.from_pretrained(source)
        assert again.net.config == saved.net.config
        assert torch.equal(again(random_images), saved(random_images))
        for name, tensor in saved.net.state_dict().items():
            assert torch.equal(again.net.state_dict()[name], tensor)
    stored = {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()}
    assert stored == {torch.float16 if embedded else torch.float32}
    first = (folder / "model.safetensors").read_bytes()
    saved.save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == first  # the same network, the same bytes, the same hash


def test_saved_folder_keeps_a_card_that_is_there_and_refuses_another_config(tiny_file, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    QFMScore.from_pretrained(tiny_file).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"heads": 4}))
    with pytest.raises(WeightsError, match="differs from the config"):
        QFMScore.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(WeightsError, match="not readable as JSON"):
        QFMScore.from_pretrained(tmp_path)


FOREIGN = {
    "config.json": b'{"model_type": "bert", "hidden_size": 768}',
    "model.safetensors": save({"weight": torch.zeros(2)}, {"format": "pt"}),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_model_is_never_written_over(tiny_file, tmp_path, name):
    (tmp_path / name).write_bytes(FOREIGN[name])
    metric = QFMScore.from_pretrained(tiny_file)
    with pytest.raises(WeightsError, match=rf"{name}: it is there and is no file of this kind; name another"):
        metric.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: FOREIGN[name]}
    (tmp_path / name).write_bytes(b"")
    metric.save_pretrained(tmp_path)
    metric.save_pretrained(tmp_path)  # over its own


@pytest.mark.parametrize("failing", ["safetensors.torch.load", "qfm_metric.pretrained.QFMNet"])
def test_too_little_memory_is_no_fault_of_the_weights(failing, monkeypatch):
    def fail(*args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes.")

    monkeypatch.setattr(failing, fail)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        QFMScore()


def test_weights_replace_weights_alone(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(FOREIGN["model.safetensors"])
    with pytest.raises(WeightsError, match=r"cannot write weights.*is no file of this kind"):
        save_weights(path, TINY, {}, torch.float32)
    assert path.read_bytes() == FOREIGN["model.safetensors"]


def test_folder_that_cannot_be_written(tiny_file, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"cannot write.*free space, or choose another"):
        QFMScore.from_pretrained(tiny_file).save_pretrained(tmp_path / "file" / "folder")
    with pytest.raises(WeightsError, match="cannot write weights"):
        save_weights(tmp_path / "none" / "a.safetensors", TINY, {}, torch.float32)


def test_revision_is_for_the_hub_only(metric, tiny_file):
    for source in (None, metric.weights_id, tiny_file, str(tiny_file)):
        with pytest.raises(WeightsError, match="needs a Hub repository"):
            load_weights(source, revision="main")
    with pytest.raises(WeightsError, match="expected one revision"):
        load_weights("org/name@v1", revision="v2")


def test_a_superseded_id_says_where_it_went(metric, monkeypatch, tiny_file):
    manifest = json.loads(json.dumps(read_manifest()))
    sha256 = hashlib.sha256(tiny_file.read_bytes()).hexdigest()
    manifest["weights"]["old"] = manifest["weights"][metric.weights_id] | {"file": None, "sha256": sha256}
    monkeypatch.setattr("qfm_metric.hub.read_manifest", lambda: manifest)
    monkeypatch.setattr("qfm_metric.weights.read_manifest", lambda: manifest)
    with pytest.raises(WeightsError, match=f"not in this installation and not on the Hub.*{sha256}"):
        load_weights("old")
    assert load_weights(tiny_file).id == "old"  # its file still loads by path, and is recognised


def test_changed_embedded_file_is_refused(monkeypatch, tmp_path):
    manifest = json.loads(json.dumps(read_manifest()))
    entry = manifest["weights"][manifest["default"]]
    data = bytearray((EMBEDDED / entry["file"]).read_bytes())
    data[-1] ^= 1
    (tmp_path / entry["file"]).write_bytes(data)
    monkeypatch.setattr("qfm_metric.weights.EMBEDDED", tmp_path)
    with pytest.raises(WeightsError, match=r"SHA-256.*reinstall"):
        QFMScore()
    (tmp_path / entry["file"]).write_bytes(data[:-1])
    with pytest.raises(WeightsError, match=f"got {len(data) - 1} in .*reinstall"):
        QFMScore()


def test_every_tensor_that_does_not_fit_is_named(tiny_file, tmp_path):
    tensors = load_file(tiny_file)
    del tensors["project.bias"]
    tensors["project.weight"] = torch.zeros(2, 2)
    tensors["surplus"] = torch.zeros(1)
    path = tmp_path / "changed.safetensors"
    save_weights(path, TINY, tensors, torch.float32)
    with pytest.raises(WeightsError) as caught:
        QFMScore.from_pretrained(path)
    for part in ("missing project.bias", "unexpected surplus", "project.weight has shape (2, 2), expected (32, "):
        assert part in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_not_finite_are_refused(tiny_file, tmp_path, value):
    tensors = load_file(tiny_file)
    tensors["project.bias"][3] = value
    path = tmp_path / "nan.safetensors"
    save_weights(path, TINY, tensors, torch.float32)
    with pytest.raises(WeightsError, match=r"not finite.*project\.bias"):
        load_weights(path)


@pytest.mark.parametrize(
    "config",
    [
        {**TINY, "colour": 1},
        {**TINY, "backbone": "no_such_backbone"},
        {**TINY, "backbone": "hf-hub:somebody/something"},
        {**TINY, "dim": "wide"},
        {**TINY, "dim": 10**9},
        {**TINY, "heads": 3},
        {**TINY, "view_pixels": -1},
        {**TINY, "depths": []},
        {**TINY, "std": [0.5, 0.0, 0.5]},
    ],
)
def test_hostile_configs_are_refused(tiny_file, tmp_path, config):
    path = tmp_path / "config.safetensors"
    save_weights(path, config, load_file(tiny_file), torch.float32)
    with pytest.raises(WeightsError, match="config in the header cannot be built"):
        QFMScore.from_pretrained(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="without the config"):
        load_weights(path)
    save_file({"weight": torch.zeros(2)}, path, {CONFIG_KEY: "{"})
    with pytest.raises(WeightsError, match="without the config"):
        load_weights(path)
    torch.save({"weight": torch.zeros(2)}, path)  # a pickle that calls itself safetensors
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_weights(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_weights(path)


def test_weights_of_other_terms_are_in_the_checkout_and_say_so_once(monkeypatch, tiny_file, tmp_path, caplog):
    data = tiny_file.read_bytes()
    (tmp_path / "other.safetensors").write_bytes(data)
    manifest = json.loads(json.dumps(read_manifest()))
    manifest["weights"]["other"] = manifest["weights"][manifest["default"]] | {
        "file": "other.safetensors",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "licence": "LicenseRef-other",
        "training_data": [{"name": "A set", "terms": "For research alone."}],
    }
    monkeypatch.setattr("qfm_metric.weights.IN_CHECKOUT", tmp_path)
    for module in ("weights", "hub"):
        monkeypatch.setattr(f"qfm_metric.{module}.read_manifest", lambda: manifest)
    for source in ("other", tmp_path / "other.safetensors", "other"):
        assert load_weights(source).id == "other"
    assert [record.getMessage() for record in caplog.records] == [
        "weights other are not Apache-2.0 but LicenseRef-other. A set: For research alone."
    ]
    QFMScore()
    assert len(caplog.records) == 1  # the default's are
    (tmp_path / "other.safetensors").unlink()  # as where the package is installed without the repository
    with pytest.raises(WeightsError, match=r"its repository has weights/other\.safetensors, or pass the path"):
        load_weights("other")


def test_the_package_holds_no_weights_of_other_terms():
    for entry in read_manifest()["weights"].values():
        assert entry["licence"] == LICENCE or entry["file"] is None or not (EMBEDDED / entry["file"]).exists()
