"""Small films, made by PyAV."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

IDENTITY = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
QUARTER = (
    0,
    1 << 16,
    0,
    -(1 << 16),
    0,
    0,
    0,
    0,
    1 << 30,
)  # phones' upright films: shown turned clockwise by 90 degrees


def film(
    path,
    frames,
    *,
    rate=10,
    times=None,
    codec="libx264",
    pixels="yuv420p",
    options=None,
    container_options=None,
    **labels,
):
    """Write frames, `(H, W, 3)` uint8 or whatever `pixels` asks for.

    Args:
        times: Of each frame in milliseconds; default: by the rate.
        options, container_options: Of the encoder, and of what is written around its pictures.
        labels: Attributes of the encoder: `color_trc` and so on.
    """
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.options = options or {}
        stream.pix_fmt = pixels
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in labels.items():
            setattr(stream.codec_context, name, value)
        for number, picture in enumerate(frames):
            frame = picture if isinstance(picture, av.VideoFrame) else av.VideoFrame.from_ndarray(picture, "rgb24")
            if not number:
                stream.width, stream.height = frame.width, frame.height
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def grey(level, width=128, height=72):
    return np.full((height, width, 3), level, dtype=np.uint8)


def turn(path):
    """Mark an MP4 file as one that is shown turned."""
    data = bytearray(Path(path).read_bytes())
    at = data.index(struct.pack(">9i", *IDENTITY), data.index(b"tkhd"))
    data[at : at + 36] = struct.pack(">9i", *QUARTER)
    Path(path).write_bytes(data)
