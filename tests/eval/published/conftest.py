"""Folders in the form of the authors' released checkpoints, and a network imported from one."""

import os
import shutil

import pytest

from eval.published.importing import import_folder
from eval.published.methods import METHODS
from tests.support.released import write_config, write_model
from train.checkpoints import checkpoint


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Make the folder of a method; methods with the same tensors share a file."""
    folder = tmp_path_factory.mktemp("released")
    files = {}

    def make(method, **changes):
        made = write_config(folder / f"{method}-{len(list(folder.iterdir()))}", method, **changes)
        kind = METHODS[method].tensors
        if kind not in files:
            write_model(made)
            files[kind] = made / "model.pt"
        else:
            os.link(files[kind], made / "model.pt")
        return made

    yield make
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def load_released(released):
    """Import the folder of a method and load the checkpoint."""

    def load(method, **changes):
        folder = released(method, **changes)
        path = folder / "checkpoint.safetensors"
        import_folder(folder, path)
        network = checkpoint.load(path)
        path.unlink()
        return network

    return load
