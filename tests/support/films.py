"""Small films for tests: of any times by the package av, of a constant rate by OpenCV."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

TICKS = 90_000
QUARTER_TURN = b"".join(
    number.to_bytes(4, "big", signed=True) for number in (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
)


def grey_frames(count, size=(96, 64)):
    """Make frames that differ: each a little brighter, with a white bar that moves."""
    frames = [np.full((size[1], size[0], 3), 40 + 120 * number // count, np.uint8) for number in range(count)]
    for number, frame in enumerate(frames):
        frame[:, number % size[0]] = 255
    return frames


def write_constant(path, frames, fps=10):
    """Write RGB frames as an MPEG-4 film of a constant rate."""
    size = frames[0].shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return Path(path)


def write_timed(av, path, frames, times, *, codec="libx264", rate=TICKS, aspect=None, options=None):
    """Write RGB frames that are shown at `times`, in seconds and multiples of 1 / rate; `aspect` is that of a pixel."""
    container = av.open(str(path), "w", options=options or {})
    stream = container.add_stream(codec, rate=rate if rate < TICKS else 25)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stream.codec_context.time_base = Fraction(1, rate)
    if aspect:
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
    for frame, seconds in zip(frames, times, strict=True):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = round(seconds * rate), Fraction(1, rate)
        container.mux(stream.encode(picture))
    container.mux(stream.encode())
    container.close()
    return Path(path)


def turn(path):
    """Write into an .mp4 film that players show it turned by 90 degrees clockwise."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = QUARTER_TURN
    path.write_bytes(data)
