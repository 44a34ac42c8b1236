"""Files for other programs: hooks name tools of the locked environment, forms and the citation are complete."""

import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from pre_commit.clientlib import load_config

from tests.support.paths import ROOT

GITHUB = ROOT / ".github"


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_hooks_run_tools_of_the_development_group(pyproject):
    tools = {Requirement(line).name for line in pyproject["dependency-groups"]["dev"] if isinstance(line, str)}
    (repository,) = load_config(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    commands = {hook["id"]: hook["entry"].split()[0] for hook in repository["hooks"]}
    assert commands.keys() == {"ruff-format", "ruff", "snakefmt", "mypy"}
    for command in commands.values():
        folder, _, tool = command.rpartition("/")
        assert folder == ".venv/bin"
        assert tool in tools
    assert {hook["language"] for hook in repository["hooks"]} <= {"system", "unsupported"}
    assert "pre-commit" in tools


def test_the_citation_names_this_version_and_the_paper(citation, pyproject):
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "date-released"} <= citation.keys()
    assert citation["version"] == pyproject["project"]["version"]
    assert citation["license"] == pyproject["project"]["license"]
    assert f"## {citation['version']} - {citation['date-released']}" in (ROOT / "CHANGELOG.md").read_text()
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors", "year"} <= paper.keys()
    families = ["Belharbi", "Pedersoli", "Koerich", "Bacon", "Granger"]
    assert [author["family-names"] for author in paper["authors"]] == families
    assert [identifier["value"] for identifier in paper["identifiers"]] == ["arXiv:2402.00281"]
    assert paper["url"].removeprefix("https://arxiv.org/abs/") in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "required"),
    [("bug", {"command", "error", "versions"}), ("dataset_request", {"name", "licence", "layout", "counts"})],
)
def test_a_form_has_what_github_needs_and_asks_for_the_essentials(name, required):
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert len({part["id"] for part in fields}) == len(fields)
    assert all(part["attributes"]["label"] for part in fields)
    assert {part["id"] for part in fields if part.get("validations", {}).get("required")} == required


def test_the_pull_request_names_targets_that_exist():
    text = (GITHUB / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("lint", "test"):
        assert f"`make {target}`" in text
        assert f"\n{target}: " in targets
