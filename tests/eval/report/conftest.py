"""A made-up results folder, its page, and a small one that a test changes."""

import pytest

from eval.report.page import build_page
from tests.support import reported


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    reported.write(results)
    return results


@pytest.fixture(scope="module")
def page(folder):
    return build_page(folder / "grid.json", folder)


@pytest.fixture
def small(tmp_path):
    """One method and one seed, to be changed by a test."""
    reported.write(tmp_path, methods=("cam",), seeds=(0,))
    return tmp_path
