"""Semantic noise: which other picture's tokens are added to a picture's own, and how.

    Memory   past pictures, detached: tokens, semantics, score, id      (QFM-IQM, Sec. 3.4)
    match    a partner for each picture: quality alike, content unlike  (QFM-IQM, Sec. 3.5)
    perturb  F~ = F + strength * stopgrad(F_k) at the network's seam    (QFM-IQM, Sec. 3.6)

Source: arXiv 2312.06158. The sections name what was read of the paper; it published no code, and every equation here is
our reconstruction.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed
from torch import Tensor

Rule = Literal["random", "matched", "v1"]


class Entries(NamedTuple):
    """What a memory holds of M pictures with L tokens each; row k of every tensor is the same picture.

    Attributes:
        tokens: `(M, L, D)`, in the dtype that was pushed first.
        semantics: `(M, C)`, unit length.
        scores: `(M,)` in [0, 1]: label or pseudo-label, higher is better.
        ids: `(M,)`, int64, which picture it is: two crops of a picture share one.
    """

    tokens: Tensor
    semantics: Tensor
    scores: Tensor
    ids: Tensor


class Memory:
    """The temporary memory (QFM-IQM, Sec. 3.4): first in, first out, nothing in it carries a gradient.

    Pictures of different shapes have different token counts L, and only equal counts can be added; so there is one
    queue per L (ours).

    Args:
        capacity: Most entries of each queue.

    Attributes:
        fifos: The entries by token count L. Rows are in order of arrival until a queue is full; from then on a new row
            takes the oldest one's place, so a later `push` changes the tensors read from here.

    Examples:
        >>> memory = Memory(capacity=3)
        >>> for i in range(5):
        ...     memory.push(torch.zeros(1, 4, 8), torch.eye(2)[:1], torch.rand(1), torch.tensor([i]))
        >>> memory.fifos[4].ids.tolist()
        [3, 4, 2]
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: expected at least 1, got {capacity}")
        self.capacity = capacity
        self.fifos: dict[int, Entries] = {}
        self._oldest: dict[int, int] = {}  # the row that is overwritten next, once the queue is full

    def __len__(self) -> int:
        """Number of entries, over all token counts."""
        return sum(len(entries.ids) for entries in self.fifos.values())

    def push(self, tokens: Tensor, semantics: Tensor, scores: Tensor, ids: Tensor) -> None:
        """Append copies of N pictures, in their order; the oldest of the same token count make room.

        Args:
            tokens: `(N, L, D)`.
            semantics: `(N, C)`, unit length.
            scores: `(N,)` in [0, 1].
            ids: `(N,)`, int64.
        """
        length = tokens.shape[1]
        new = Entries(*(x.detach()[-self.capacity :] for x in (tokens, semantics, scores, ids)))
        old = self.fifos.get(length, Entries(*(x[:0] for x in new)))
        room = self.capacity - len(old.ids)
        oldest, late = self._oldest.get(length, 0), max(0, len(new.ids) - room)
        rows = (oldest + torch.arange(late, device=old.ids.device)) % self.capacity
        held = []
        for stored, came in zip(old, new, strict=True):
            came = came.to(stored)
            kept = torch.cat([stored, came[:room]]) if room else stored
            kept[rows] = came[room:]
            held.append(kept)
        self.fifos[length] = Entries(*held)
        self._oldest[length] = (oldest + late) % self.capacity

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything, of plain types and tensors: `torch.load(weights_only=True)` reads it."""
        fifos = {length: {k: x.clone() for k, x in held._asdict().items()} for length, held in self.fifos.items()}
        return {"capacity": self.capacity, "oldest": dict(self._oldest), "fifos": fifos}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str | None = None) -> None:
        """Take over what `state_dict` gave, on `device` (None: where the tensors are): goes on exactly as it would.

        Raises:
            ValueError: The state is of a memory of another capacity.
        """
        if state["capacity"] != self.capacity:
            raise ValueError(f"capacity: expected a state of {self.capacity}, got one of {state['capacity']}")
        self._oldest = dict(state["oldest"])
        self.fifos = {
            length: Entries(**{k: x.to(device=device, copy=True) for k, x in held.items()})
            for length, held in state["fifos"].items()
        }


def share(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor, detached, concatenated over the ranks of `torch.distributed` in rank order.

    `(N, ...)`, of equal shape on every rank, to `(ranks * N, ...)`; without a process group the tensors themselves. A
    memory that is pushed what `share` returns is the same on all ranks (ours).
    """
    tensors = tuple(x.detach().contiguous() for x in tensors)
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensors
    shared = []
    for tensor in tensors:
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor)
        shared.append(torch.cat(parts))
    return tuple(shared)


def match(
    semantics: Tensor,
    scores: Tensor,
    ids: Tensor,
    memory_semantics: Tensor,
    memory_scores: Tensor,
    memory_ids: Tensor,
    rule: Rule,
    tolerance: float,
    generator: torch.Generator,
    among: int = 1,
) -> Tensor:
    """Choose a partner in the memory for each picture; never the picture itself, known by its id.

    With `c = z_i . z_k` the cosine of the contents and `g = |y_i - y_k|` the gap in quality:

    - matched: of those with `g <= tolerance` the smallest `c`; if there are none, the smallest `g`.
    - v1: of those with `g > tolerance` the largest `c`; if there are none, the largest `g`.
    - random: any, uniformly.

    The rule "matched" follows QFM-IQM, Sec. 3.5 ("similar quality score but different semantics"), "v1" the opposite
    rule of the paper's first version; thresholds, order and what happens without candidates are ours. The random rule
    is ours, a control.

    Args:
        semantics, scores, ids: `(N, C)` unit length, `(N,)` and `(N,)` int64, of the pictures.
        memory_semantics, memory_scores, memory_ids: `(M, C)`, `(M,)` and `(M,)`, of the memory.
        rule: See above.
        tolerance: In units of the score.
        generator: Gives N numbers per call whatever the rule; may live on another device.
        among: Draw uniformly among this many of the first candidates in the rule's order.

    Returns:
        `(N,)`, int64 rows of the memory; -1 where it holds no other picture. Ties go to the lower row.
    """
    drawn = torch.rand(len(ids), generator=generator, device=generator.device).to(ids.device)
    if not len(memory_ids):
        return torch.full_like(ids, -1)
    other = ids[:, None] != memory_ids  # (N, M)
    with torch.no_grad():
        cosine = semantics.float() @ memory_semantics.float().T
        gap = (scores[:, None] - memory_scores).abs()
    if rule == "matched":
        candidates, order, fallback = other & (gap <= tolerance), cosine, gap
    elif rule == "v1":
        candidates, order, fallback = other & (gap > tolerance), -cosine, -gap
    elif rule == "random":
        candidates, order, fallback, among = other, gap, gap, len(memory_ids)
    else:
        raise ValueError(f"rule: expected random, matched or v1, got {rule!r}")
    found = candidates.any(dim=1, keepdim=True)
    order = torch.where(found, order.masked_fill(~candidates, torch.inf), fallback.masked_fill(~other, torch.inf))
    choices = candidates.sum(dim=1).clamp(1, among)  # 1: without candidates the first by the fallback
    picked = (drawn * choices).long()  # below `choices`: the largest float32 below 1 times n rounds to less than n
    rows = order.argsort(dim=1, stable=True).gather(1, picked[:, None]).squeeze(1)
    return torch.where(other.any(dim=1), rows, -1)


def perturb(tokens: Tensor, partners: Tensor, strength: float, present: Tensor) -> Tensor:
    """Add the partners' tokens: `F~ = F + strength * stopgrad(F_k * rms(F) / rms(F_k))` (QFM-IQM, Sec. 3.6).

    The root mean squares are over the L * D numbers of a picture, so that `strength` is the ratio of noise to signal
    (the scale is ours). The gradient reaches `tokens` alone, as through the identity.

    Args:
        tokens: `(N, L, D)`.
        partners: `(N, L, D)`, as `memory.fifos[L].tokens[rows]`.
        strength: Ratio of root mean squares, 0 or more.
        present: `(N,)`, bool; where False (`rows < 0`) the picture's tokens are returned as they are.

    Returns:
        `(N, L, D)`.
    """
    own, noise = tokens.detach(), partners.detach().to(tokens)
    noise = noise * (strength * root_mean_squares(own) / root_mean_squares(noise).clamp(min=1e-6))
    return tokens + torch.where(present[:, None, None], noise, torch.zeros_like(noise))


def root_mean_squares(tokens: Tensor) -> Tensor:
    """Of each picture's numbers, `(N, L, D)` to `(N, 1, 1)`."""
    return tokens.square().mean(dim=(1, 2), keepdim=True).sqrt()
