"""The best pictures of each moment, of rows that have been grouped."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ..folder.file_names import printable
from ..folder.row import Value
from .decide import Decision
from .plan import Planned


def keep_best(plan: Sequence[Planned], count: int) -> list[Planned]:
    """Reject all but the best `count` of each group; what is rejected already takes nobody's place.

    Args:
        plan: Pictures whose rows have `group`, see `qfm_metric.folder.groups`; others stay as they are.
        count: 1 or more.
    """
    groups: defaultdict[Value, list[int]] = defaultdict(list)
    for i, planned in enumerate(plan):
        if planned.row.value("group") is not None:
            groups[planned.row.value("group")].append(i)
    found = list(plan)
    for group, members in groups.items():
        ranked = sorted(members, key=lambda i: -(plan[i].row.score or 0.0))
        left = [(rank, i) for rank, i in enumerate(ranked, 1) if plan[i].decision != Decision.REJECT]
        for rank, i in left[count:]:
            best = printable(plan[left[0][1]].row.path)
            why = f"{rank} of {len(ranked)} in group {group}, after {best}"
            found[i] = replace(plan[i], decision=Decision.REJECT, why=why)
    return found
