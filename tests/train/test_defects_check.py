"""What is asked of named defects, in closed form; and the whole way on a tiny network."""

from functools import partial

import numpy as np
import pytest
import torch
from helpers.small_world import fresh_net
from scipy.special import expit, logit

from qfm_metric import QFMScore, WeightsError
from qfm_metric.defects import NAMES
from qfm_metric.train import calibrate, defects_check
from qfm_metric.train.calibrate import calibrate_weights, write_weights
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.defects_check import Case, _shift, check, draw_pairs, figures, fit_deviations, markdown
from qfm_metric.train.severity import DistortionLevel

QUALITIES = (0.95, 0.8, 0.6, 0.4, 0.2)  # the first is minded too little to be asked for


def of_type(number):
    return [DistortionLevel("KADID-10k", number, "x", i, 0.0, q) for i, q in enumerate(QUALITIES, start=1)]


LEVELS = of_type(1) + of_type(11)  # blur and noise
CASES = [Case(p, (level,)) for p in range(2) for level in LEVELS] + [Case(0, (LEVELS[4], LEVELS[9])), Case(0, ())]


def truth():
    """What a network without errors tells."""
    told = np.full((len(CASES), len(NAMES), 2), 0.01)
    for case, answer in zip(CASES, told, strict=True):
        for name, level in zip(case.names(), case.levels, strict=True):
            answer[NAMES.index(name), 0] = 1 - level.quality
    return told


def test_without_errors_all_is_right():
    found = figures(CASES, truth(), NAMES)
    assert {name: found[name] for name in ("top1", "top2", "order", "both", "within")} == dict.fromkeys(
        ("top1", "top2", "order", "both", "within"), 1.0
    )
    assert found["false_alarms"] == 0
    assert found["confusion"] == {"blur": {"blur": 8}, "noise": {"noise": 8}}  # 4 levels of 2 pictures
    assert [x["pairs"] for x in found["types"]] == [10, 10]
    assert "| KADID-10k | 1 | x | blur | 1.00 | 1.00 | 10/10 | blur 1.00 |" in markdown(found)


def test_what_is_taken_for_another_counts_as_second():
    told = truth()
    told[:, NAMES.index("dark"), 0] = 0.9
    found = figures(CASES, told, NAMES)
    assert (found["top1"], found["top2"]) == (0, 1)
    assert found["false_alarms"] == 1
    assert found["confusion"] == {"blur": {"dark": 8}, "noise": {"dark": 8}}
    assert found["both"] == 1  # two are named beside what costs most
    assert [x["told"] for x in found["types"]] == [{"dark": 8}, {"dark": 8}]
    assert "| KADID-10k | 11 | x | noise | 0.00 | 1.00 | 10/10 | dark 1.00 |" in markdown(found)
    assert "| noise | 8 | dark 1.00 |" in markdown(found)


def test_levels_the_wrong_way_round_and_costs_that_are_off_are_seen():
    told = truth()
    told[..., 0] = 1 - told[..., 0]
    found = figures(CASES, told, NAMES)
    assert found["order"] == 0
    told = truth()
    told[: len(CASES) // 2, :, 0] += 0.5  # half of the versions, the first eleven of twenty
    assert figures(CASES, told, NAMES)["within"] == pytest.approx(9 / 20)


def test_a_shift_of_the_deviations_makes_one_hold_68_percent_of_the_errors():
    rng = np.random.default_rng(0)
    stds = rng.uniform(0.01, 0.3, 1000)
    errors = np.abs(stds * 2 * rng.standard_normal(1000))  # deviations are told twice too narrow
    shifted = expit(logit(stds) + _shift(errors, stds))
    assert np.mean(errors <= shifted) == pytest.approx(0.68, abs=0.002)  # 1 of 1,000, and the quantile's place
    assert _shift(errors, shifted) == pytest.approx(0, abs=1e-9)


def test_pairs_are_of_two_names_that_people_mind():
    pairs = draw_pairs(LEVELS, 3, 20, seed=0)
    assert len(pairs) == 20
    for pair in pairs:
        assert set(pair.names()) == {"blur", "noise"}
        assert all(level.quality <= 0.85 for level in pair.levels)
    assert pairs != draw_pairs(LEVELS, 3, 20, seed=1)
    assert draw_pairs(of_type(1), 3, 20, seed=0) == []


@pytest.fixture
def table(tmp_path):
    """Two types of three levels."""
    path = tmp_path / "severity.csv"
    lines = ["data_set,type,name,level,mean_score,scale"]
    for number in (1, 11):
        lines += [f"KADID-10k,{number},x,{level},{mean},DMOS 1..5" for level, mean in ((1, 5), (3, 3), (5, 2))]
    path.write_text("\n".join(lines))
    return path


def test_a_tiny_network_is_measured(world, table, tmp_path):
    write_weights(fresh_net(), tmp_path / "tiny.safetensors")
    small = {"pictures": 1, "pairs": 2, "clean": 1, "floor_mos": 0.6, "workers": 0}
    found = check(table, world, str(tmp_path / "tiny.safetensors"), **small)
    assert 0 <= found["top1"] <= found["top2"] <= 1
    assert sum(sum(counted.values()) for counted in found["confusion"].values()) == 4


def test_types_that_are_asked_for_are_rendered_alone(world, table, tmp_path):
    write_weights(fresh_net(), tmp_path / "tiny.safetensors")
    small = {"pictures": 1, "pairs": 2, "clean": 1, "floor_mos": 0.6, "workers": 0}
    found = check(table, world, str(tmp_path / "tiny.safetensors"), only=["KADID-10k/11"], **small)
    assert [(x["data_set"], x["type"]) for x in found["types"]] == [("KADID-10k", 11)]
    assert found["both"] is None  # of one name there are no pairs
    with pytest.raises(DataError, match=r"expected types of .*, got KADID-10k/12"):
        check(table, world, str(tmp_path / "tiny.safetensors"), only=["KADID-10k/11", "KADID-10k/12"], **small)


def test_weights_that_name_nothing_are_refused(world, table, tiny_files):
    with pytest.raises(WeightsError, match="expected weights that name defects"):
        check(table, world, tiny_files[0])


def test_calibrating_fits_the_deviations_of_defects_and_moves_no_cost(world, table, tmp_path, monkeypatch):
    monkeypatch.setattr(defects_check, "PICTURES", 0)  # the tiny world has few clean photographs
    monkeypatch.setattr(defects_check, "CLEAN_MOS", 0.6)
    before, after = (tmp_path / name for name in ("before.safetensors", "after.safetensors"))
    write_weights(fresh_net(), before)
    monkeypatch.setattr(calibrate, "fit_deviations", partial(fit_deviations, pictures=2))
    calibrate_weights(str(before), world, after, severity=table, workers=0)
    nets = [QFMScore.from_pretrained(path) for path in (before, after)]
    told = [metric.assess(torch.full((1, 3, 64, 64), 0.5)).defects for metric in nets]
    assert torch.equal(told[0].severity, told[1].severity)
    fitted = [NAMES.index(name) for name in ("blur", "noise")]  # what the table's types are called
    assert (told[0].std != told[1].std)[0].nonzero().flatten().tolist() == fitted
    again = fit_deviations(table, world, nets[1], pictures=2, workers=0)
    assert np.abs(again).max() < 0.02  # the bias is kept in half precision
