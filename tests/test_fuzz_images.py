"""A short run of the fuzzer, by Hypothesis, which makes a find small; `fuzz_images.py` is for long ones."""

import warnings

import pytest
from fuzz_images import KINDS, PIXELS, draw_changes, mutate, try_input
from helpers.corpus import CORPUS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

FILES = {path.name: path.read_bytes() for path in sorted(CORPUS.iterdir())}
CHANGES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 4000), st.integers(0, 63), st.integers(0, 2**16 - 1)),
    min_size=1,
    max_size=6,
)


@pytest.fixture
def small_pictures_only(monkeypatch):
    """A damaged header may say anything up to the limit of decompression bombs."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PIXELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", FILES)
def test_each_file_of_the_corpus_is_read_or_refused(name, small_pictures_only):
    assert try_input(CORPUS / name) is None


@pytest.mark.slow
@settings(
    max_examples=3000,
    deadline=None,
    derandomize=True,  # the same inputs in each run; other ones are what long runs are for
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(sorted(FILES)), changes=CHANGES)
def test_a_damaged_picture_is_read_or_refused(tmp_path, small_pictures_only, name, changes):
    path = tmp_path / "input"
    path.write_bytes(mutate(FILES[name], changes, list(FILES.values())))
    assert try_input(path) is None


def test_the_corpus_is_small_and_has_every_kind_of_change(small_pictures_only):
    import random

    assert sum(map(len, FILES.values())) < 300_000
    drawn = {kind for seed in range(50) for kind, *_ in draw_changes(random.Random(seed), 100)}
    assert drawn == set(KINDS)
