"""Frames of a film: decoded one after the other, some of them taken; little memory, however long the film is.

packet -> decode      damaged packets are passed over and counted
       -> Scenes      a thumbnail of each frame: does a new scene begin?
       -> Sampler     is this frame taken? every 1 / fps seconds, and at the beginning of each scene
       -> to_pixels   upright, square pixels, sRGB     (H, W, 3), uint8
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ..decoding.failures import explain
from ..decoding.files import check_kind
from ..decoding.foreign import HEAD_BYTES, VIDEO, what_it_is
from ..images import ImageError, Pixels
from .ends import lacks_end
from .hdr import TRANSFERS, to_srgb

if TYPE_CHECKING:
    import av

THUMBNAIL = {"width": 64, "height": 36}
# A scene begins where a thumbnail differs from the one before by 27 of 255 levels and by three times as much as frames
# have differed lately: the thresholds of PySceneDetect's content and adaptive detectors.
CUT, LATELY, SHARE = 27 / 255, 3.0, 0.2
SHORTEST_SCENE = 0.5  # s; flashes and stroboscopes are no scenes
RESTART = 1.0  # s by which time falls where another recording begins; less is careless writing
HD = 720  # rows from which on colours without a label are BT.709's, as players have it
BT601, BT709, UNLABELLED, RGB = 5, 1, 2, 0  # as FFmpeg numbers colour spaces
ATTACHED_PICTURE = 1024  # FFmpeg's mark of a cover in a file of music
MOST_PIXELS = 2**27  # of a frame; larger ones are refused before there is memory for them


class VideoError(ImageError):
    """A film that cannot be read, or has no pictures; says why."""


@dataclass(frozen=True)
class Frame:
    """A frame that was taken.

    Attributes:
        time: Seconds from the film's first frame.
        pixels: `(H, W, 3)`, uint8: upright, sRGB.
        note: What to bear in mind about them, such as tone mapping; "" if there is nothing.
    """

    time: float
    pixels: Pixels
    note: str


class Frames:
    """The frames of a film that are taken, one at a time.

    Args:
        path: A file, any film that FFmpeg reads.
        fps: Frames a second; beyond the film's own rate all are taken.

    Attributes:
        damaged: Packets and frames that could not be decoded so far; in the end one more if the file lacks its end.
        seconds: Time of the last frame so far.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float = 1.0) -> None:
        self.path, self.fps = os.fsdecode(path), fps
        self.damaged, self.seconds = 0, 0.0
        if isinstance(fps, bool) or not isinstance(fps, Real):
            raise TypeError(f"fps: expected a number of frames a second, got {fps!r}")
        if not 0 < fps < float("inf"):
            raise ValueError(f"fps: expected more than 0 frames a second, got {fps}")

    def __iter__(self) -> Iterator[Frame]:
        """Decode.

        Raises:
            VideoError: it is no film, or not one frame can be decoded.
            ImportError: PyAV is missing.
        """
        scenes, sampler = Scenes(), Sampler(self.fps)
        any_frame = False
        with _open(self.path) as (container, stream):
            for frame, time in self._decode(container, stream):
                self.seconds = time
                try:
                    if not sampler.takes(time, scenes.begins(frame, time)):
                        continue
                    pixels, note = to_pixels(frame, stream.codec_context.sample_aspect_ratio)
                except (OSError, ValueError):  # FFmpeg's, too: a layout of pixels that it cannot convert
                    self.damaged += 1
                    continue
                any_frame = True
                yield Frame(time, pixels, note)
        if not any_frame:
            raise VideoError(f"{self.path!r}: expected a film with pictures, got none that can be decoded")
        with suppress(OSError):  # it may have gone meanwhile
            self.damaged += lacks_end(self.path)

    def _decode(self, container: Any, stream: Any) -> "Iterator[tuple[av.VideoFrame, float]]":
        """All frames with their times, which go on where those of recordings that were joined begin again.

        What is damaged is passed over.
        """
        import av

        first, last, before = None, 0.0, 0.0
        step = float(1 / stream.average_rate) if stream.average_rate else 0.04
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            except (av.FFmpegError, OSError):
                self.damaged += 1
                if self.damaged > 1000:  # nothing comes any more that is not
                    return
                continue
            if packet is None:
                return
            for frame in frames:
                if frame.is_corrupt:
                    self.damaged += 1
                    continue
                time = last + step if frame.time is None else float(frame.time) + before  # some containers have none
                if first is not None and time < last - RESTART:
                    before += last + step - time
                    time = last + step
                first = time if first is None else first
                last = time
                yield frame, max(0.0, time - first)


class Scenes:
    """Tells where a film cuts."""

    def __init__(self) -> None:
        self._before: Pixels | None = None
        self._lately, self._begun = 0.0, 0.0

    def begins(self, frame: Any, time: float) -> bool:
        """Whether a new scene begins with this frame, the next one of the film."""
        small = frame.reformat(**THUMBNAIL, format="gray").to_ndarray().astype(np.float32) / 255
        if self._before is None:
            self._before = small
            return True
        difference = float(np.abs(small - self._before).mean())
        cut = difference >= CUT and difference >= LATELY * self._lately and time - self._begun >= SHORTEST_SCENE
        self._before = small
        self._lately += SHARE * (min(difference, CUT) - self._lately)
        if cut:
            self._begun = time
        return cut


class Sampler:
    """Tells which frames are taken: the first of each scene, and from there on one every 1 / fps seconds."""

    def __init__(self, fps: float) -> None:
        self.step = 1 / fps
        self._next = 0.0

    def takes(self, time: float, begins: bool) -> bool:
        """Whether to take the frame of this time."""
        if begins:
            self._next = time
        if time < self._next - 1e-6:
            return False
        self._next += self.step
        if self._next <= time:  # a gap: times of a film with a variable rate, or a missing part
            self._next = time + self.step
        return True


def to_pixels(frame: Any, aspect: Any = None) -> tuple[Pixels, str]:
    """Upright sRGB pixels of a decoded frame, `(H, W, 3)` uint8, and a note.

    Args:
        frame: PyAV's.
        aspect: Width of a pixel by its height; None or 0: square.
    """
    space = int(frame.colorspace)
    if space == UNLABELLED:
        space = BT709 if frame.height >= HD else BT601
    transfer = TRANSFERS.get(int(frame.color_trc))
    options: dict[str, Any] = {"format": "rgb48le" if transfer else "rgb24"}
    if space != RGB:
        options["src_colorspace"] = space
    if aspect and aspect != 1:
        options |= {"width": max(1, round(frame.width * float(aspect))), "height": frame.height}
    pixels = frame.reformat(**options).to_ndarray()
    note = ""
    if transfer:
        pixels, note = to_srgb(pixels, transfer), f"HDR ({transfer}), mapped to sRGB"
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(pixels, turns)), note


@contextmanager
def _open(path: str) -> Iterator[tuple[Any, Any]]:
    """A film's container and its first stream of pictures."""
    import av

    try:
        check_kind(path)
        # With what says that it is a file: FFmpeg takes 10:30.mp4 for an address, and concat:a.mp4 for another file.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except ImageError as error:
        raise VideoError(f"{path!r}: {error}") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path!r}: {_why(path, error)}") from error
    with container:
        films = [s for s in container.streams.video if not int(s.disposition) & ATTACHED_PICTURE]
        if not films:
            raise VideoError(f"{path!r}: expected a film, got a file without pictures")
        films[0].thread_type = "AUTO"
        films[0].codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        yield container, films[0]


def _why(path: str, error: Exception) -> str:
    """What is wrong with a file that FFmpeg cannot open, of which it mostly knows no more than that it is invalid."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError) as unreadable:
        return explain(unreadable)
    again = "copy, download or export it again"
    if not head:
        return f"expected a film, got an empty file; {again}"
    found = what_it_is(head)
    if found and found != VIDEO:
        return f"expected a film, got {found[0]}; {found[1]}"
    return (
        f"expected a film, but FFmpeg stopped with: {getattr(error, 'strerror', None) or error}; if it is one, {again}"
    )
