"""Hostile weights files: each of a thousand mutations is refused with a WeightsError, and runs nothing."""

import json
import pickle
import random
import struct
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from qfm_metric import QFMScore, WeightsError
from qfm_metric.config import QFMConfig
from qfm_metric.hub import load_weights
from qfm_metric.model import QFMNet
from qfm_metric.weights import CONFIG_KEY, check_fit, save_weights

TINY = {"backbone": "mobilenetv3_small_050", "dim": 32, "heads": 2}
EACH = 100  # mutations of a kind
NOT_A_CONFIG = ["[]", "null", "1", '"x"', "", "{", "nope", "[" * 50_000, "9" * 5000, '{"a": 1}{', "\x00", "\ud7ff{"]
VALUES = [None, True, -1, 0, 0.5, 2**63, 10**400, "", "x", "../x", "hf-hub:a/b", [], {}, [None], [1e999], ["1"], [[0]]]


@pytest.fixture(scope="module")
def small():
    """A file of ours with few tensors, `(header, data)`; a whole network would make the mutations slow."""
    header = {"__metadata__": {CONFIG_KEY: json.dumps(TINY)}}
    names = ["head.weight", "head.bias", "project.weight"]
    for i, name in enumerate(names):
        header[name] = {"dtype": "F32", "shape": [2, 4], "data_offsets": [32 * i, 32 * (i + 1)]}
    return header, struct.pack("<24f", *range(24))


def packed(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def copy_of(header):
    return json.loads(json.dumps(header))


def random_bytes(rng, header, data):
    return rng.randbytes(rng.choice([0, 1, 7, 8, 9, 64, 1000]))


def header_length(rng, header, data):
    whole = packed(header, data)
    true = len(whole) - 8 - len(data)
    wrong = rng.choice([0, 1, true - 1, true + 1, 10**8, 10**8 + 1, 2**32, 2**63, 2**64 - 1, rng.getrandbits(64)])
    return wrong.to_bytes(8, "little") + whole[8:]


def truncated(rng, header, data):
    whole = packed(header, data)
    return whole[: rng.randrange(len(whole))]


def extended(rng, header, data):
    return packed(header, data) + rng.randbytes(rng.randint(1, 64))


def header_json(rng, header, data):
    """A bracket, quote, colon or comma of the header lost or doubled."""
    text = bytearray(json.dumps(header).encode())
    i = rng.choice([i for i, c in enumerate(text) if c in b'{}[]":,' and text[i - 1 : i] != b"\\"])
    text[i : i + 1] = rng.choice([b"", bytes([text[i]]) * 2, b"\xff", b"\x00"])
    return packed(bytes(text), data)


def shape(rng, header, data):
    header = copy_of(header)
    wrong = [[2, 5], [], [0], [-2, -4], [2**63, 2], [2**32, 2**32], [2.0, 4], "2,4", None, [[2], [4]], {"0": 2}]
    header["head.weight"]["shape"] = rng.choice(wrong)
    return packed(header, data)


def offsets(rng, header, data):
    """Overlapping, duplicate, reversed, with a hole, beyond the end."""
    header = copy_of(header)
    wrong = [[0, 33], [32, 64], [64, 96], [32, 0], [4, 36], [-32, 0], [0, 2**64], [0, 2**63], [0], [0, 32, 64], "0"]
    header["head.weight"]["data_offsets"] = rng.choice(wrong)
    return packed(header, data)


def dtype(rng, header, data):
    header = copy_of(header)
    header["head.weight"]["dtype"] = rng.choice(["F64", "I32", "I64", "U8", "BOOL", "C64", "F8_E4M3", "O", "", None, 7])
    return packed(header, data)


def not_finite(rng, header, data):
    data = bytearray(data)
    value = rng.choice([float("nan"), float("inf"), float("-inf")])
    struct.pack_into("<f", data, 4 * rng.randrange(24), value)
    return packed(header, bytes(data))


def no_config(rng, header, data):
    header = copy_of(header)
    key = header["__metadata__"].pop(CONFIG_KEY)
    wrong = [None, {}, {"other": key}, "x", [], *({CONFIG_KEY: text} for text in NOT_A_CONFIG), {CONFIG_KEY: 3}]
    header["__metadata__"] = rng.choice(wrong)
    return packed(header, data)


MUTATIONS = [
    random_bytes,
    header_length,
    truncated,
    extended,
    header_json,
    shape,
    offsets,
    dtype,
    not_finite,
    no_config,
]


def test_the_file_that_is_mutated_is_a_good_one(small, tmp_path):
    (tmp_path / "good.safetensors").write_bytes(packed(*small))
    good = load_weights(tmp_path / "good.safetensors")
    assert good.config == TINY
    assert good.tensors["head.bias"].tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutated_files_are_refused(small, tmp_path, mutation):
    rng = random.Random(mutation.__name__)
    path = tmp_path / "hostile.safetensors"
    for _ in range(EACH):
        data = mutation(rng, *small)
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"hostile\.safetensors: .{20}"):
            load_weights(path)
    assert len(MUTATIONS) * EACH >= 1000


def test_random_damage_is_refused_or_harmless(small, tmp_path):
    """Any byte, any value: a digit of a weight may change unseen without a hash, nothing else may happen."""
    rng = random.Random(0)
    path = tmp_path / "hostile.safetensors"
    refused = 0
    for _ in range(1000):
        data = bytearray(packed(*small))
        data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            weights = load_weights(path)
        except WeightsError:
            refused += 1
        else:
            assert all(tensor.isfinite().all() for tensor in weights.tensors.values())
    assert 300 < refused < 1000


@pytest.mark.parametrize("name", QFMConfig.__dataclass_fields__)
def test_nonsense_in_the_config_is_refused(tmp_path, name):
    """Before a network is built from it: no absurd memory, no download, no crash."""
    tensors = {"head.weight": torch.zeros(1)}
    path = tmp_path / "config.safetensors"
    for value in VALUES:
        save_weights(path, TINY | {name: value}, tensors, torch.float32)
        with pytest.raises(WeightsError, match=r"config in the header cannot be built|do not fit"):
            QFMScore.from_pretrained(path)


def test_backbone_of_gigabytes_is_refused_before_it_takes_memory(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    path = tmp_path / "huge.safetensors"
    config = {"backbone": "tf_efficientnet_l2", "dim": 4096, "queries": 256, "heads": 64}
    save_weights(path, config, {"head.weight": torch.zeros(1)}, torch.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="do not fit"):
        QFMScore.from_pretrained(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 2**29  # the network would take 2.5 GB


def test_wrong_tensors_are_refused_all_at_once(tmp_path):
    torch.manual_seed(0)
    state = {name: t for name, t in QFMNet(QFMConfig(**TINY)).state_dict().items() if t.is_floating_point()}
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    save_weights(good, TINY, state, torch.float32)
    weights = load_weights(good)
    check_fit(weights, state)
    rng = random.Random(0)
    for _ in range(20):
        tensors = load_file(good)
        lost, reshaped, renamed = rng.sample(sorted(tensors), 3)
        del tensors[lost]
        tensors[reshaped] = torch.zeros(*tensors[reshaped].shape, 2)
        tensors["x." + renamed] = tensors.pop(renamed)
        save_file(tensors, bad, {CONFIG_KEY: json.dumps(TINY)})
        with pytest.raises(WeightsError) as caught:
            check_fit(load_weights(bad), state)
        for part in (f"missing {lost}", f"{reshaped} has shape", f"missing {renamed}", f"unexpected x.{renamed}"):
            assert part in str(caught.value)


class Evil:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (open, (self.trace, "w"))


def test_a_pickle_is_not_run_whatever_it_is_called(small, tmp_path):
    trace = tmp_path / "trace"
    evil = pickle.dumps(Evil(str(trace)))
    for name in ("model.safetensors", "pytorch_model.bin", "model.pt"):
        path = tmp_path / name
        path.write_bytes(evil)
        with pytest.raises(WeightsError, match="not a safetensors file"):
            load_weights(path)
        torch.save(Evil(str(trace)), path)
        with pytest.raises(WeightsError, match="not a safetensors file"):
            load_weights(path)
    header, data = small
    (tmp_path / "model.safetensors").write_bytes(packed(header, data[: -len(evil)] + evil)[-len(evil) :])
    with pytest.raises(WeightsError):
        QFMScore.from_pretrained(tmp_path)
    assert not trace.exists()
    pickle.loads(evil).close()  # it does leave a trace when it is run
    assert trace.exists()
