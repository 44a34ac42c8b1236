"""Written figures, read again."""

import sys
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
import pytest

from eval.figures import style
from pipeline.errors import run


def numbers(out: Path, width: float = style.COLUMN) -> pd.DataFrame:
    """Check that a figure has its three files, is `width` mm wide and not empty; read its numbers."""
    assert out.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    picture = cv2.imread(str(out.with_suffix(".png")))
    assert picture.shape[1] == pytest.approx(width / 25.4 * style.DPI, abs=2)
    assert 0.002 < (picture.min(2) < 200).mean() < 0.9
    return pd.read_csv(out.with_suffix(".csv"))


def has_colour(out: Path, colour: str) -> bool:
    """Tell whether a figure has pixels of exactly this colour."""
    wanted = np.rint(255 * np.array(matplotlib.colors.to_rgb(colour)))[::-1]
    return bool((cv2.imread(str(out.with_suffix(".png"))) == wanted).all(2).any())


def command(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run the command of a module in this process."""
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    run(module.main)
