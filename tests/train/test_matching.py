"""The memory as a queue, the partners each rule chooses, and what is added to the tokens."""

import doctest
import io
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from helpers.processes import environment

from qfm_metric.train import matching
from qfm_metric.train.matching import Memory, match, perturb, share


def push(memory, ids, length=2):
    """Push pictures whose every number tells their id."""
    values = torch.tensor(ids, dtype=torch.float32)
    tokens = values[:, None, None].expand(-1, length, 3)
    memory.push(tokens, F.normalize(values[:, None].expand(-1, 4) + 1, dim=1), values / 100, torch.tensor(ids))


def held(memory, length=2):
    return memory.fifos[length].ids.tolist()


def test_the_example_runs():
    assert doctest.testmod(matching, extraglobs={"torch": torch}) == (0, 3)  # failed, attempted


def test_memory_is_first_in_first_out():
    memory = Memory(4)
    push(memory, [0, 1, 2])
    assert held(memory) == [0, 1, 2]
    push(memory, [3, 4])
    assert held(memory) == [4, 1, 2, 3]
    push(memory, [5, 6])
    assert held(memory) == [4, 5, 6, 3]
    push(memory, [])
    push(memory, [7, 8])
    assert held(memory) == [8, 5, 6, 7]
    assert len(memory) == 4
    entries = memory.fifos[2]
    assert torch.equal(entries.tokens, entries.ids[:, None, None].expand(4, 2, 3).float())
    assert torch.equal(entries.scores, entries.ids / 100)
    assert entries.semantics.shape == (4, 4)
    assert entries.ids.dtype == torch.int64


@pytest.mark.parametrize("before", [0, 1, 4, 6])
@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_memory_holds_the_latest_whatever_the_batch(before, size):
    memory = Memory(4)
    push(memory, list(range(before)))
    latest = list(range(before))
    for start in (10, 30, 50):
        ids = list(range(start, start + size))
        push(memory, ids)
        latest = (latest + ids)[-4:]
        assert sorted(held(memory)) == latest


def test_memory_keeps_a_queue_per_token_count():
    memory = Memory(2)
    push(memory, [0, 1], length=2)
    push(memory, [2, 3, 4], length=5)
    push(memory, [5], length=2)
    assert held(memory, 2) == [5, 1]
    assert held(memory, 5) == [3, 4]
    assert memory.fifos[5].tokens.shape == (2, 5, 3)
    assert len(memory) == 4


def test_memory_copies_and_detaches():
    tokens, semantics = torch.ones(2, 2, 3, requires_grad=True), torch.ones(2, 4, requires_grad=True)
    memory = Memory(4)
    memory.push(tokens * 1, semantics, torch.zeros(2), torch.arange(2))
    assert not any(x.requires_grad for x in memory.fifos[2])
    with torch.no_grad():
        semantics.zero_()
    assert memory.fifos[2].semantics.min() == 1


def test_memory_resumes_exactly():
    memory, resumed = Memory(3), Memory(3)
    push(memory, [0, 1, 2])
    push(memory, [3])
    push(memory, [9], length=5)
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    snapshot = memory.state_dict()
    for pushed in ([], [4], [5, 6]):
        push(memory, pushed)
        push(resumed, pushed)
        for length in (2, 5):
            for a, b in zip(memory.fifos[length], resumed.fifos[length], strict=True):
                assert a.dtype == b.dtype
                assert torch.equal(a, b)
    assert snapshot["fifos"][2]["ids"].tolist() == [3, 1, 2]  # a later push leaves it alone
    resumed.load_state_dict(snapshot)
    push(resumed, [7])
    assert snapshot["fifos"][2]["ids"].tolist() == [3, 1, 2]


def test_memory_refuses_another_capacity():
    with pytest.raises(ValueError, match="expected a state of 4, got one of 3"):
        Memory(4).load_state_dict(Memory(3).state_dict())
    with pytest.raises(ValueError, match="at least 1"):
        Memory(0)


def test_share_alone_is_the_identity():
    tensors = torch.rand(2, 3), torch.arange(2)
    assert all(torch.equal(a, b) for a, b in zip(share(*tensors), tensors, strict=True))
    assert not share(torch.rand(2, requires_grad=True))[0].requires_grad


RANK = """
import sys
import torch
from qfm_metric.train.matching import Memory, share
rank, init = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
ids = torch.tensor([10, 11]) + 10 * rank
tokens = torch.full((2, 3, 4), float(rank), requires_grad=True).transpose(1, 2)
memory = Memory(3)
memory.push(*share(tokens, torch.eye(2), torch.full((2,), rank / 2), ids))
assert memory.fifos[4].ids.tolist() == [11, 20, 21], memory.fifos[4].ids
assert memory.fifos[4].tokens[:, 0, 0].tolist() == [0, 1, 1]
assert memory.fifos[4].scores.tolist() == [0, 0.5, 0.5]
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
def test_share_gives_every_rank_the_same_memory(tmp_path):
    variables = environment()
    if sys.platform == "linux":
        variables["GLOO_SOCKET_IFNAME"] = "lo"  # the host's own name need not resolve
    arguments = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen([*arguments, str(rank), (tmp_path / "init").as_uri()], env=variables, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        errors = [rank.communicate(timeout=120)[1].decode() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)


# Six entries beside one picture of id 0, score 0.5, content at 0 degrees. The first is the picture itself, and would
# be the best partner of the rule "v1" but for that.
IDS = torch.tensor([0, 1, 2, 3, 4, 5])
SCORES = torch.tensor([0.99, 0.52, 0.48, 0.88, 0.1, 0.501])
DEGREES = torch.tensor([0.0, 170.0, 90.0, 20.0, 175.0, 10.0])


def content(degrees):
    return torch.stack([torch.deg2rad(degrees).cos(), torch.deg2rad(degrees).sin()], dim=1)


def partners(rule, tolerance=0.05, among=1, n=1, ids=IDS, seed=0):
    """Partners of `n` times the same picture."""
    picture = content(torch.zeros(n)), torch.full((n,), 0.5), torch.zeros(n, dtype=torch.int64)
    generator = torch.Generator().manual_seed(seed)
    chosen = match(*picture, content(DEGREES), SCORES, ids, rule, tolerance, generator, among)
    assert chosen.shape == (n,)
    assert chosen.dtype == torch.int64
    return chosen.tolist()


def test_matched_takes_unlike_content_of_like_quality():
    assert partners("matched") == [1]
    assert partners("matched", tolerance=0.5) == [4]
    assert partners("matched", tolerance=0.0001) == [5]  # none: the nearest in quality, however alike


def test_v1_takes_like_content_of_unlike_quality():
    assert partners("v1") == [3]
    assert partners("v1", tolerance=0.0001) == [5]
    assert partners("v1", tolerance=0.5) == [4]  # none: the farthest in quality, however unlike


def test_random_takes_every_other_picture_equally_often():
    counts = torch.bincount(torch.tensor(partners("random", n=5000)), minlength=6)
    assert counts[0] == 0
    assert counts[1:].min() > 850  # 1000 expected, standard deviation 28
    assert counts[1:].max() < 1150


def test_among_draws_from_the_first_candidates_alone():
    chosen = torch.bincount(torch.tensor(partners("matched", among=2, n=1000)), minlength=6)
    assert chosen.tolist() == pytest.approx([0, 500, 500, 0, 0, 0], abs=100)
    assert set(partners("matched", among=99, n=200)) == {1, 2, 5}
    assert set(partners("v1", among=99, n=200)) == {3, 4}
    assert set(partners("matched", among=99, n=50, tolerance=0.0001)) == {5}


@pytest.mark.parametrize("rule", ["random", "matched", "v1"])
def test_a_memory_of_the_picture_alone_has_no_partner(rule):
    assert partners(rule, ids=torch.zeros(6, dtype=torch.int64), n=2) == [-1, -1]
    ids = torch.tensor([0, 0, 0, 0, 0, 7])
    assert partners(rule, ids=ids, n=2) == [5, 5]


@pytest.mark.parametrize("rule", ["random", "matched", "v1"])
def test_an_empty_memory_has_no_partner(rule):
    nothing = torch.zeros(0, 2), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    chosen = match(torch.eye(2), torch.rand(2), torch.arange(2), *nothing, rule, 0.05, torch.Generator())
    assert chosen.tolist() == [-1, -1]


@pytest.mark.parametrize("rule", ["random", "matched", "v1"])
def test_a_partner_is_chosen_for_each_picture_by_itself(rule):
    """A batch against the same rule written with a loop."""
    g = torch.Generator().manual_seed(1)
    z, scores, ids = F.normalize(torch.randn(60, 5, generator=g), dim=1), torch.rand(60, generator=g), torch.arange(60)
    picture, memory = (z[:20], scores[:20], ids[:20] % 7), (z[20:], scores[20:], ids[20:] % 7)
    chosen = match(*picture, *memory, rule, 0.02, torch.Generator().manual_seed(2))
    fallbacks = 0
    for i, row in enumerate(chosen.tolist()):
        others = [k for k in range(40) if memory[2][k] != picture[2][i]]
        gap = {k: abs(memory[1][k] - picture[1][i]).item() for k in others}
        cosine = {k: (memory[0][k] @ picture[0][i]).item() for k in others}
        near, far = [k for k in others if gap[k] <= 0.02], [k for k in others if gap[k] > 0.02]
        fallbacks += not near
        expected = {
            "matched": [min(near, key=cosine.get) if near else min(others, key=gap.get)],
            "v1": [max(far, key=cosine.get)],
            "random": others,
        }
        assert row in expected[rule]
    assert 0 < fallbacks < 20  # both branches were tried


def test_draws_depend_on_the_generator_alone_and_advance_it_equally():
    assert partners("random", n=50) == partners("random", n=50)
    assert partners("random", n=50) != partners("random", n=50, seed=1)
    states = []
    for rule in ("random", "matched", "v1"):
        generator = torch.Generator().manual_seed(0)
        picture = content(torch.zeros(3)), torch.full((3,), 0.5), torch.zeros(3, dtype=torch.int64)
        match(*picture, content(DEGREES), SCORES, IDS, rule, 0.05, generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_match_refuses_an_unknown_rule():
    with pytest.raises(ValueError, match="rule: expected random, matched or v1, got 'v2'"):
        partners("v2")


def test_perturb_adds_noise_of_the_asked_ratio():
    tokens, noise = torch.full((1, 2, 2), 3.0), torch.tensor([[[2.0, -2.0], [2.0, 2.0]]])
    perturbed = perturb(tokens, noise, 0.5, torch.tensor([True]))
    assert torch.allclose(perturbed, torch.tensor([[[4.5, 1.5], [4.5, 4.5]]]))
    assert torch.allclose(perturb(tokens, 100 * noise, 0.5, torch.tensor([True])), perturbed)
    assert torch.allclose(perturb(10 * tokens, noise, 0.5, torch.tensor([True])), 10 * perturbed)
    assert torch.equal(perturb(tokens, noise, 0.0, torch.tensor([True])), tokens)


def test_perturb_leaves_pictures_without_a_partner_alone():
    generator = torch.Generator().manual_seed(0)
    tokens, noise = torch.randn(2, 3, 4, 5, generator=generator)
    noise[1] = torch.nan
    perturbed = perturb(tokens, noise, 0.5, torch.tensor([True, False, True]))
    assert torch.equal(perturbed[1], tokens[1])
    for i in (0, 2):
        assert ((perturbed - tokens)[i].norm() / tokens[i].norm()).item() == pytest.approx(0.5, rel=1e-5)


def test_perturb_of_zeros_is_finite():
    zeros, ones = torch.zeros(1, 2, 3, requires_grad=True), torch.ones(1, 2, 3)
    assert torch.equal(perturb(ones, zeros, 1.0, torch.tensor([True])), ones)
    perturbed = perturb(zeros, ones, 1.0, torch.tensor([True]))
    perturbed.sum().backward()
    assert torch.equal(zeros.grad, ones)


def test_the_gradient_of_a_perturbed_picture_is_its_own():
    tokens, noise = torch.rand(2, 3, 4, requires_grad=True), torch.rand(2, 3, 4, requires_grad=True)
    perturb(tokens, noise, 0.5, torch.tensor([True, False])).sum().backward()
    assert torch.equal(tokens.grad, torch.ones(2, 3, 4))
    assert noise.grad is None
