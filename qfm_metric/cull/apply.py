"""Doing what a plan says, and taking it back; both can be cut off anywhere and begun again."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from .companions import companions, pictures_among
from .decide import Decision
from .move import are_copies, move
from .plan import PlanError, Planned
from .undo_file import Step, UndoFile

ORDER = list(Decision)


@dataclass
class Outcome:
    """What happened.

    Attributes:
        done: Files that were moved, linked or taken back.
        before: Pictures and links that an earlier run had brought to their place already.
        problems: What was left as it is, and why.
    """

    done: int = 0
    before: int = 0
    problems: list[str] = field(default_factory=list)


def apply_plan(
    plan: Sequence[Planned],
    folder: str | os.PathLike[str],
    undo: str | os.PathLike[str],
    *,
    decisions: Collection[Decision] = (Decision.REJECT,),
    link: bool = False,
) -> Outcome:
    """Move pictures, and the files that belong to them, to `folder/DECISION/NAME`. Nothing is deleted or replaced.

    Args:
        plan: What `read_plan` returns; paths count from the current folder.
        folder: Where to; is made if it is missing.
        undo: The undo file: made, or gone on with.
        decisions: Which pictures are moved; the others stay.
        link: Make symbolic links there instead, and leave the pictures where they are.

    Raises:
        PlanError: two files would go to the same place.
        UndoError: `undo` is no undo file, or of the other kind.
        OSError: `undo` cannot be written.
    """
    outcome = Outcome()
    groups = list(steps_of(plan, os.path.abspath(folder), decisions))
    _refuse_collisions(groups)
    with UndoFile(undo, link=link) as file:
        file.sweep()
        known = set(file.steps)
        ready = [group for group in groups if _is_ready(group, known, link, outcome)]
        file.write(step for group in ready for step in group)
        for group in ready:
            _attempt(group, outcome, lambda step: _link(step) if link else _move(step, file))
    return outcome


def undo_plan(undo: str | os.PathLike[str]) -> Outcome:
    """Bring everything back that an undo file names; the file goes when all of it is back.

    Raises:
        UndoError: there is none, or it is no undo file.
        OSError: it cannot be read.
    """
    outcome = Outcome()
    with UndoFile(undo) as file:
        file.sweep()
        for step in reversed(file.steps):
            _attempt([step], outcome, lambda step: _unlink(step) if file.link else _move_back(step, file))
        if not outcome.problems:
            file.delete()
    return outcome


def steps_of(plan: Iterable[Planned], folder: str, decisions: Collection[Decision]) -> Iterator[list[Step]]:
    """What has to be done for each picture: itself first, then what belongs to it.

    A file that several pictures share (`a.xmp` of `a.jpg` and `a.heic`) goes with the one that has the best decision,
    and stays if a picture has none.
    """
    by_folder: dict[str, dict[str, Planned]] = {}
    for planned in plan:
        place, name = os.path.split(os.path.abspath(planned.row.path))
        by_folder.setdefault(place, {})[name] = planned
    for place, pictures in by_folder.items():
        names: list[str] = []
        with suppress(OSError):  # a folder that has gone: every picture in it is told
            names = os.listdir(place)
        shared = companions([*pictures, *pictures_among(names)], names)
        theirs: dict[str, list[str]] = {}
        for companion, owners in shared.items():
            if companion not in pictures and all(owner in pictures for owner in owners):
                best = min(owners, key=lambda owner: ORDER.index(pictures[owner].decision))
                theirs.setdefault(best, []).append(companion)
        for name, planned in pictures.items():
            if planned.decision in decisions:
                target = os.path.join(folder, planned.decision.value, planned.name)
                beside = os.path.dirname(target)
                yield [
                    Step(os.path.join(place, name), target),
                    *(Step(os.path.join(place, file), os.path.join(beside, file)) for file in theirs.get(name, ())),
                ]


def _refuse_collisions(groups: Iterable[Sequence[Step]]) -> None:
    sources: dict[str, str] = {}
    for group in groups:
        for step in group:
            other = sources.setdefault(os.path.normcase(step.target), step.source)
            if other != step.source:
                raise PlanError(
                    f"{other} and {step.source} would both become {step.target}; give one of them another `name`"
                )


def _is_ready(group: Sequence[Step], known: Collection[Step], link: bool, outcome: Outcome) -> bool:
    """Whether something is to be done for a picture; what speaks against it is told, and all of it stays."""
    for step in group:
        problem = _problem(step, step in known, link)
        if problem:
            outcome.problems.append(problem)
            return False
    return True


def _problem(step: Step, known: bool, link: bool) -> str:
    there, taken = os.path.lexists(step.source), os.path.lexists(step.target)
    if taken and not known:
        return f"{step.source}: {step.target} is there already"
    if not there and not taken:
        return f"{step.source}: it is gone"
    if there and not link and (os.path.islink(step.source) or not os.path.isfile(step.source)):
        return f"{step.source}: it is a link, a folder or a pipe, and stays"
    return ""


def _attempt(steps: Iterable[Step], outcome: Outcome, act: Callable[[Step], str | bool]) -> None:
    """Do steps until one cannot be done. `act` returns whether there was something to do, or a problem."""
    for step in steps:
        try:
            found = act(step)
        except OSError as error:
            found = f"{error.filename or step.source}: {error.strerror or error}"
        if isinstance(found, str):
            outcome.problems.append(found)
            return
        outcome.done += found
        outcome.before += not found


def _move(step: Step, file: UndoFile) -> str | bool:
    if not os.path.lexists(step.target):
        os.makedirs(os.path.dirname(step.target), exist_ok=True)
        move(step.source, step.target, file.part_in(os.path.dirname(step.target)))
        return True
    if not os.path.lexists(step.source):
        return False
    return _keep_one(step.target, step.source)


def _move_back(step: Step, file: UndoFile) -> str | bool:
    there, moved = os.path.lexists(step.source), os.path.lexists(step.target)
    if there and moved:
        return _keep_one(step.source, step.target)
    if moved:
        os.makedirs(os.path.dirname(step.source), exist_ok=True)
        move(step.target, step.source, file.part_in(os.path.dirname(step.source)))
    return moved if there or moved else f"{step.source}: it is neither there nor at {step.target}"


def _keep_one(kept: str, other: str) -> str | bool:
    """End a move that was cut off when the file had both places."""
    if not are_copies(kept, other):
        return f"{other}: {kept} is there, and is another file"
    os.unlink(other)
    return True


def _link(step: Step) -> str | bool:
    if _is_our_link(step):
        return False
    os.makedirs(os.path.dirname(step.target), exist_ok=True)
    os.symlink(step.source, step.target)
    return True


def _unlink(step: Step) -> str | bool:
    if not os.path.lexists(step.target):
        return False
    if not _is_our_link(step):
        return f"{step.target}: it is no longer the link that was made"
    os.unlink(step.target)
    return True


def _is_our_link(step: Step) -> bool:
    # Windows gives the link back with the prefix of its long paths.
    return os.path.islink(step.target) and os.readlink(step.target).removeprefix("\\\\?\\") == step.source
