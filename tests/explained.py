"""A small trained network on drawn faces, for the tests of what explains faces."""

import pytest
from stages import STAGES, card, run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder after the preparation, a short training and its predictions: generated/, data/, run/."""
    folder = tmp_path_factory.mktemp("trained")
    card(folder)
    for stage in STAGES[:8]:
        code, said = run(stage, folder)
        assert code == 0, said
    return folder
