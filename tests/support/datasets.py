"""Small datasets on disk for the tests of sources, and what a source says about them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.types import Sample


def picture(path: Path, size: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size, size, 3), sum(path.stem.encode()) % 256, np.uint8))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def by_id(source: object, root: Path) -> dict[str, Sample]:
    return {sample.id: sample for sample in source.read(root)}  # type: ignore[attr-defined]


def refusal(source: object, root: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(source.read(root))  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)
    return str(caught.value)
