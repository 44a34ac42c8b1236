"""Where the repository, its golden files and the real faces beside it lie."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
REAL_FACES = ROOT.parent / "shared" / "faces" / "RAF-DB"  # photographs, not part of the repository


def private_paths(tmp_path, prepared_folder):
    """Return places on this machine, as bytes, that no file made for others may name."""
    return [str(path).encode() for path in (ROOT, tmp_path.parent, prepared_folder, Path.home(), sys.prefix)]
