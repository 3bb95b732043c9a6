"""Warnings of decoders: none is shown while a picture is read, and those of everybody else are."""

import threading
import warnings

import pytest
import torch
from helpers.pictures import NOISE, noise, save, tensor_of
from helpers.tiffs import grey_directory, write_tiff
from PIL import Image

from qfm_metric.decoding.quiet import no_warnings
from qfm_metric.images import ImageError, load_image


@pytest.fixture
def shown(monkeypatch):
    """Messages that are shown, with the filters of a process that shows each of them."""
    messages = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *args, **options: messages.append(str(message)))
        yield messages


def malformed_mpo(tmp_path):
    path = save(noise("RGB"), tmp_path / "a.jpg", quality=95)
    data = path.read_bytes()
    segment = b"MPF\0II*\0\x08\0\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe2" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])
    return path


def tiff_with_two_units(tmp_path):
    return write_tiff(tmp_path / "a.tif", {**grey_directory(NOISE[..., 0]), 296: [2, 2]})


def icon_of_another_size(tmp_path):
    noise("RGB").resize((32, 32)).save(tmp_path / "a.ico", sizes=[(32, 32)])
    data = bytearray((tmp_path / "a.ico").read_bytes())
    data[6:8] = 16, 16
    (tmp_path / "a.ico").write_bytes(data)
    return tmp_path / "a.ico"


@pytest.mark.parametrize("make", [malformed_mpo, tiff_with_two_units, icon_of_another_size])
def test_a_warning_of_a_decoder_is_not_shown(tmp_path, shown, make):
    path = make(tmp_path)
    with Image.open(path) as image:
        image.load()
    assert shown  # without us, it is
    shown.clear()
    load_image(path)
    assert not shown


def test_other_threads_and_other_code_warn_as_ever(shown):
    inside, done = threading.Event(), threading.Event()

    def decode():
        with no_warnings():
            warnings.warn("of a decoder", stacklevel=1)
            inside.set()
            done.wait(10)
            warnings.warn("of a decoder", stacklevel=1)

    thread = threading.Thread(target=decode)
    thread.start()
    assert inside.wait(10)
    warnings.warn("of another thread", stacklevel=1)
    done.set()
    thread.join()
    warnings.warn("after it", stacklevel=1)
    assert shown == ["of another thread", "after it"]


def test_what_shows_warnings_is_put_back_when_the_last_thread_is_done(shown):
    show = warnings.showwarning
    with no_warnings():
        assert warnings.showwarning is not show
        with no_warnings():
            warnings.warn("twice inside", stacklevel=1)
        warnings.warn("once inside", stacklevel=1)
    assert warnings.showwarning is show
    assert not shown


def test_what_a_caller_replaces_meanwhile_stays(monkeypatch, shown):
    with no_warnings():
        monkeypatch.setattr(warnings, "showwarning", print)
    assert warnings.showwarning is print


def test_filters_are_not_touched(tmp_path, shown):
    before = list(warnings.filters)
    with no_warnings():
        assert warnings.filters == before
    assert torch.equal(load_image(save(noise("RGB"), tmp_path / "a.png")), tensor_of(NOISE[..., 1:]))
    assert warnings.filters == before


def test_no_decoder_logs_an_error(tmp_path, capfd):
    path = write_tiff(tmp_path / "a.tif", grey_directory(NOISE[..., 0], SAMPLES=500))
    with pytest.raises(ImageError, match="500 x 8 bits"):
        load_image(path)
    assert capfd.readouterr().err == ""
