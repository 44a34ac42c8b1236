"""pyproject.toml, uv.lock and environment.yml name the same direct dependencies and compatible versions."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT


def requirements(lines):
    return {canonicalize_name(package.name): package.specifier for package in map(Requirement, lines)}


@pytest.fixture(scope="module")
def declared():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return requirements([*content["project"]["dependencies"], *content["dependency-groups"]["workflow"]])


@pytest.fixture(scope="module")
def lock():
    return tomllib.loads((ROOT / "uv.lock").read_text())["package"]


def test_environment_yml_names_the_same(declared):
    text = (ROOT / "environment.yml").read_text()
    named = next(part["pip"] for part in yaml.safe_load(text)["dependencies"] if isinstance(part, dict))
    apart = re.findall(r"pip install --no-deps (\S+)", text)  # conda cannot leave out what a package asks for
    assert requirements([*named, *apart]) == declared


def test_the_lock_is_of_these_requirements(declared, lock):
    project = next(package for package in lock if package["name"] == "au-guidance")
    packages = [*project["metadata"]["requires-dist"], *project["metadata"]["requires-dev"]["workflow"]]
    assert requirements(f"{package['name']}{package.get('specifier', '')}" for package in packages) == declared


def test_locked_versions_satisfy_them(declared, lock):
    for name, specifier in declared.items():
        versions = [package["version"] for package in lock if package["name"] == name]
        assert versions, name
        assert all(specifier.contains(version) for version in versions), name


def test_every_locked_file_has_a_hash(lock):
    for package in lock:
        for file in package.get("wheels", []):
            assert file["hash"].startswith("sha256:"), package["name"]
