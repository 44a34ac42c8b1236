"""The project's own config, as a test reads and changes it."""

import copy

import pytest
import yaml

from tests.support.paths import ROOT
from workflow.config import read


@pytest.fixture(scope="module")
def paper():
    return read(ROOT / "config.yaml")


@pytest.fixture
def values():
    return copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text()))
