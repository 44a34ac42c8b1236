"""No detector: images that are faces already, such as AffectNet's released crops, are used whole, as they are."""

from pipeline.geometry import Image
from pipeline.types import Sample


def detect(image: Image, sample: Sample) -> None:
    """Find nothing; `pipeline.align` then takes the dataset's box if there is one, else the whole image."""
