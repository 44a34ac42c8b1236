"""Read many pictures one by one while a network explains them in batches."""

import sys
from collections import deque
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from eval.explain.explainer import Explainer
from eval.explain.explanation import Explanation, RGBImage
from eval.explain.inputs import Input
from eval.explain.panel import Shrunk, shrink
from eval.explain.summary import Summary
from pipeline.storage import images


class PictureReader:
    """Reads pictures one by one, so that one is in memory at a time.

    Those that cannot be read go to stderr and to the summary; `n_failed` counts them.
    """

    def __init__(self, inputs: Sequence[Input], max_pixels: int, summary: Summary) -> None:
        self.inputs, self.max_pixels, self.n_failed = inputs, max_pixels, 0
        self._summary = summary
        self._ahead: deque[tuple[Input, Shrunk]] = deque()  # those that were read and are not yet explained

    def explained(self, explainer: Explainer, batch_size: int) -> Iterator[tuple[Input, list[Explanation], Shrunk]]:
        """Yield each picture that can be read with its faces, shrunk."""
        for faces in explainer.explain_all(self._images(), batch_size=batch_size):
            source, picture = self._ahead.popleft()
            yield source, faces, picture

    def _images(self) -> Iterator[RGBImage]:
        for source in tqdm(self.inputs, desc="explain", unit="image", disable=None if len(self.inputs) > 1 else True):
            try:
                image = images.read(source.path, self.max_pixels)
            except images.Unreadable as error:
                print(f"{source.path}: unreadable: {error}", file=sys.stderr)
                self._summary.add_unreadable(source, str(error))
                self.n_failed += 1
                continue
            self._ahead.append((source, shrink(image)))
            yield image
            del image  # before the next one is decoded
