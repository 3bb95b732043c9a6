"""The best of each group stay, and nothing that is rejected comes back."""

from qfm_metric.cull.best import keep_best
from qfm_metric.cull.decide import Decision, by_preset
from qfm_metric.cull.plan import make_plan
from qfm_metric.folder.row import Row

KEEP, LOOK, REJECT = Decision


def planned(*pictures):
    """By the preset `normal`: kept from .6, looked at from .4."""
    rows = [
        Row(f"{i}.jpg", score, error=None if score else "no picture", extra={} if group is None else {"group": group})
        for i, (score, group) in enumerate(pictures)
    ]
    return list(make_plan(rows, by_preset("normal"), ""))


def decisions(plan):
    return [picture.decision for picture in plan]


def test_all_but_the_best_of_a_group_are_rejected_and_told_why():
    plan = planned((0.7, 1), (0.9, 1), (0.8, 2), (0.5, 1))
    assert decisions(keep_best(plan, 1)) == [REJECT, KEEP, KEEP, REJECT]
    assert [picture.why for picture in keep_best(plan, 1)] == [
        "2 of 3 in group 1, after 1.jpg",
        "",
        "",
        "3 of 3 in group 1, after 1.jpg",
    ]
    assert decisions(keep_best(plan, 2)) == [KEEP, KEEP, KEEP, REJECT]
    assert keep_best(plan, 3) == plan


def test_of_equal_scores_the_first_stays():
    assert decisions(keep_best(planned((0.7, 1), (0.7, 1)), 1)) == [KEEP, REJECT]


def test_what_is_rejected_already_takes_nobodys_place_and_keeps_its_reason():
    plan = planned((0.5, 1), (0.3, 1), (0.2, 1))
    assert keep_best(plan, 1) == plan


def test_pictures_without_a_group_stay_as_they_are():
    plan = planned((0.7, None), (0.7, None), (None, None))
    assert keep_best(plan, 1) == plan


def test_a_name_in_a_reason_is_one_line():
    rows = [Row("a\nb.jpg", 0.9, extra={"group": 1}), Row("c.jpg", 0.8, extra={"group": 1})]
    found = keep_best(list(make_plan(rows, by_preset("normal"), "")), 1)
    assert found[1].why == "2 of 2 in group 1, after a\\nb.jpg"
