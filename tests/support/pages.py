"""The pages of the documentation, and the blocks of code in them."""

import re

from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FAMILY = "tests/support/family.py, in FAMILY"


def page(name):
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def blocks(name):
    """Return {the comment in the first line of a block: the block} for the blocks that start with a comment."""
    by_comment = {}
    for match in BLOCK.finditer(page(name)):
        first, _, _ = match[2].partition("\n")
        if first.startswith("# "):
            by_comment[first.removeprefix("# ")] = match[2]
    return by_comment


def rows(text):
    """Return the rows of all tables of a page as lists of cells."""
    lines = [line.replace(r"\|", "¦") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("¦", "|") for cell in line.strip("|").split("|")] for line in lines]


def folded(text):
    return re.sub(r"\s+", " ", text)
