"""QFMMetric within the real torchmetrics: values, life cycle, and two real processes."""

import pickle
import subprocess
import sys

import pytest
import torch
from helpers.processes import environment
from torchmetrics import MetricCollection
from torchmetrics.aggregation import MeanMetric
from torchmetrics.wrappers import MetricTracker

from qfm_metric import QFMScore
from qfm_metric.adapters.torchmetrics import QFMMetric, QFMReferenceMetric


@pytest.fixture
def mean(tiny):
    return QFMMetric(tiny)


@pytest.fixture
def each(tiny):
    return QFMMetric(tiny, reduction="none")


def test_mean_is_over_all_images_and_not_over_batches(mean, images, scores):
    mean.update(images[:4])
    mean.update(images[4:])
    assert mean.compute().shape == ()
    torch.testing.assert_close(mean.compute(), scores.mean())


def test_none_keeps_every_score_in_order(each, images, scores):
    each.update(images[:2])
    each.update([images[2], images[3]])
    each.update(images[4])
    assert torch.equal(each.compute(), scores)


def test_forward_gives_the_batch_and_accumulates(mean, each, images, scores):
    torch.testing.assert_close(mean(images[:2]), scores[:2].mean())
    assert torch.equal(each(images[:2]), scores[:2])
    torch.testing.assert_close(mean(images[2:]), scores[2:].mean())
    assert torch.equal(each(images[2:]), scores[2:])
    torch.testing.assert_close(mean.compute(), scores.mean())
    assert torch.equal(each.compute(), scores)


@pytest.mark.parametrize("options", [{}, {"reduction": "none"}, {"dist_sync_on_step": True}])
def test_images_that_cannot_be_scored_cost_nothing_that_was_gathered(tiny, images, options):
    metric = QFMMetric(tiny, **options)
    metric(images[:2])
    before = metric.compute()
    for call in (metric, metric.update):
        with pytest.raises(ValueError, match="divide by 255"):
            call(images * 255)
    assert torch.equal(metric.compute(), before)
    torch.testing.assert_close(metric(images[2:]), QFMMetric(tiny, **options)(images[2:]))
    metric._computed = None
    assert not torch.equal(metric.compute().sum(), before.sum())


@pytest.mark.parametrize("state", [torch.inference_mode, lambda: torch.device("meta")])
def test_it_is_the_same_in_every_state_of_torch(tiny, images, scores, state):
    with state():
        metric = QFMMetric(tiny)
    metric.update(images)
    torch.testing.assert_close(metric.compute(), scores.mean())


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradient_reaches_the_images(tiny, images, reduction):
    inputs = images[:2].clone().requires_grad_()
    QFMMetric(tiny, reduction=reduction)(inputs).sum().backward()
    assert inputs.grad.abs().sum() > 0


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_reset_clone_and_pickle(tiny, images, scores, reduction):
    metric = QFMMetric(tiny, reduction=reduction)
    metric.update(images[:3])
    for copy in (metric.clone(), pickle.loads(pickle.dumps(metric))):
        copy.update(images[3:])
        torch.testing.assert_close(copy.compute().mean(), scores.mean())
    torch.testing.assert_close(metric.compute().mean(), scores[:3].mean())  # the copies are apart
    metric.reset()
    metric.update(images[:1])
    torch.testing.assert_close(metric.compute().mean(), scores[0])


def test_collection_shares_no_state_between_reductions(mean, each, images, scores):
    collection = MetricCollection({"mean": mean, "each": each})
    collection.update(images[:3])
    collection.update(images[3:])
    found = collection.compute()
    torch.testing.assert_close(found["mean"], scores.mean())
    assert torch.equal(found["each"], scores)


def test_tracker_knows_that_higher_is_better(mean, images, scores):
    tracker = MetricTracker(mean)
    for image in images:
        tracker.increment()
        tracker.update(image)
    best, step = tracker.best_metric(return_step=True)
    assert best == pytest.approx(scores.max().item())
    assert step == scores.argmax()


def test_moves_and_stays_in_evaluation(mean, monkeypatch):
    """Told by what the model is asked, because this machine may have one device alone."""
    moved, asked = mean.clone().train(), []
    monkeypatch.setattr(moved.model, "_apply", lambda fn: asked.append(fn(torch.empty(0)).device.type))
    assert moved.to("meta").sum_scores.device.type == "meta"
    assert asked == ["meta"]
    assert not moved.model.training


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu(mean, images, scores):
    metric = mean.clone().to("cuda")
    metric.update(images.cuda())
    assert metric.compute().device.type == "cuda"
    torch.testing.assert_close(metric.compute().cpu(), scores.mean(), atol=1e-4, rtol=0)


def test_state_dict_holds_the_network_as_those_of_torchmetrics_do(tiny, mean, images, scores):
    assert {name.split(".")[0] for name in mean.state_dict()} == {"model"}
    mean.persistent(True)
    mean.update(images)
    loaded = QFMMetric(tiny)
    loaded.load_state_dict(mean.state_dict(), strict=True)
    loaded.persistent(True)
    torch.testing.assert_close(loaded.sum_scores / loaded.num_scores, scores.mean())


def test_plot_is_bounded_by_the_range_of_the_score(mean, images):
    import matplotlib

    matplotlib.use("Agg")
    figure, axis = mean.plot([mean(image) for image in images])
    low, high = axis.get_ylim()
    assert low <= 0 < 1 <= high
    matplotlib.pyplot.close(figure)


def test_the_default_is_the_shipped_metric(metric, images):
    default = QFMMetric()
    assert isinstance(default.model, QFMScore)
    assert torch.equal(default(images[0]), metric(images[0])[0])


def test_refuses_what_it_does_not_know(tiny, mean):
    with pytest.raises(ValueError, match='"mean" or "none", got \'sum\''):
        QFMMetric(tiny, reduction="sum")
    for model in ("qfm-tiny-v2", QFMScore):
        for adapter in (QFMMetric, QFMReferenceMetric):
            with pytest.raises(TypeError, match=r"model: expected a metric such as QFMScore\(\), got "):
                adapter(model)
    with pytest.raises(ValueError, match="divide by 255"):
        mean.update(torch.full((1, 3, 64, 64), 255.0))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_pairs_are_compared_with_their_references(compare, images, reduction):
    metric = QFMReferenceMetric(compare, reduction=reduction)
    expected = compare(images, images.flip(3))
    metric.update(images[:2], images[:2].flip(3))
    metric.update([*images[2:]], [*images[2:].flip(3)])
    torch.testing.assert_close(metric.compute(), expected.mean() if reduction == "mean" else expected)
    inputs = images[:1].clone().requires_grad_()
    metric(inputs, images[:1].flip(3)).sum().backward()
    assert inputs.grad.abs().sum() > 0


def test_with_a_reference_the_default_is_the_shipped_head(images):
    metric = QFMReferenceMetric()
    metric.update(images, images)
    assert metric.compute() == 1


@pytest.mark.slow
def test_absent_package_is_named_with_its_extra():
    code = "import sys; sys.modules['torchmetrics'] = None; import qfm_metric.adapters.torchmetrics"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert 'pip install "qfm-metric[torchmetrics]"' in done.stderr


WORKER = """
import sys

import torch
import torch.distributed as dist

from qfm_metric import QFMScore
from qfm_metric.adapters.torchmetrics import QFMMetric

weights, images, rank, store = sys.argv[1], torch.load(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
mine = images[:4] if rank == 0 else images[4:]  # shares of unlike size: a mean of means would be wrong
model = QFMScore.from_pretrained(weights)
mean, each = QFMMetric(model), QFMMetric(model, reduction="none")
mean.update(mine)
each.update(mine)
scores = model(images)
torch.testing.assert_close(mean.compute(), scores.mean())
assert (scores.mean() - (scores[:4].mean() + scores[4]) / 2).abs() > 1e-5
assert torch.equal(each.compute(), scores)
assert len(each.scores[0]) == len(mine)  # unsynced again
dist.destroy_process_group()
print("synced")
"""


@pytest.mark.slow
def test_two_processes_are_synced(tmp_path, tiny_files, images):
    torch.save(images, tmp_path / "images.pt")
    command = [sys.executable, "-c", WORKER, str(tiny_files[0]), str(tmp_path / "images.pt")]
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        ended = [worker.communicate(timeout=240) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [out.strip() for out, _ in ended] == ["synced", "synced"], ended


def test_runs_beside_other_metrics_in_one_collection(mean, images):
    collection = MetricCollection({"qfm": mean, "brightness": MeanMetric()}, prefix="val/")
    collection.update(images)
    assert set(collection.compute()) == {"val/qfm", "val/brightness"}
