"""No detector: images that already are faces, such as AffectNet's released crops, are used unchanged."""

from pipeline.geometry import Image
from pipeline.types import Sample


def detect(image: Image, sample: Sample) -> None:
    """Return None; `pipeline.align` then uses the dataset's box, or the whole image without one."""
