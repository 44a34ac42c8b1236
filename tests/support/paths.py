"""Where the repository, its golden files and what may lie beside it are."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
SHARED = ROOT.parent / "shared"  # not part of the repository
REAL_FACES = SHARED / "faces" / "RAF-DB"  # photographs


def private_paths(tmp_path, prepared_folder):
    """Return places on this machine, as bytes, that no file made for others may name."""
    return [str(path).encode() for path in (ROOT, tmp_path.parent, prepared_folder, Path.home(), sys.prefix)]
