"""The pretrained files that there are, as data; no torch here."""

from pathlib import Path
from typing import cast

import yaml

FILES = Path(__file__).with_name("files.yaml")
MS1M = "backbone_ir50_ms1m_epoch120.pth"  # lies on Google Drive, which hands out no file without a person


def known_weights() -> dict[str, str]:
    """Read the list of pretrained files: need -> address."""
    return cast(dict[str, str], yaml.safe_load(FILES.read_text(encoding="utf-8")))
