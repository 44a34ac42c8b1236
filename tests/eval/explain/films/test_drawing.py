"""Labels stay inside the frame."""

import numpy as np
import pytest

from eval.explain.films.drawing import draw_label


@pytest.mark.parametrize("size", [(48, 64), (480, 640), (2160, 3840)])
@pytest.mark.parametrize(("x", "y"), [(-0.1, -0.1), (0.9, 0.5), (0.4, 0.01), (0.99, 1.2)])
def test_a_label_is_inside_the_frame(size, x, y):
    frame = np.full((*size, 3), 128, np.uint8)
    left, top, right, bottom = draw_label(frame, "12 happiness >99 %", round(x * size[1]), round(y * size[0]))
    assert left >= 0
    assert top >= 0
    assert right < size[1]
    assert bottom < size[0]
    assert frame[top : bottom + 1, left : right + 1].max() > 180  # letters
    frame[top : bottom + 1, left : right + 1] = 128
    assert (frame == 128).all()


def test_letters_grow_with_the_frame():
    heights = [
        box[3] - box[1]
        for box in (draw_label(np.zeros((h, 2 * h, 3), np.uint8), "1 fear", 5, h // 2) for h in (720, 2160))
    ]
    assert heights[1] > 2 * heights[0]
