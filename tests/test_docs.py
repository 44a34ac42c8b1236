"""The documentation: its examples run, its numbers are those of the code, and the site needs no network."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from eval.floors import FLOORS
from eval.kinds import HEADINGS, KINDS
from eval.localisation import localisation
from eval.removal import FRACTIONS
from pipeline.action_units import geometry_table
from pipeline.expressions import AFFECTNET, RAFDB, Expression, codebook
from pipeline.plugins import names
from pipeline.sources._affectnet_labels import OTHERS
from pipeline.sources.affectnet import EXPECTED as AFFECTNET_COUNTS
from pipeline.sources.rafdb import EXPECTED as RAFDB_COUNTS
from pipeline.status import FACES, LANDMARKS
from workflow.config import parse
from workflow.schema import keys

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FAMILY = "tests/test_contract.py, in FAMILY"


def page(name):
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def blocks(name):
    """Return {what the first line of a block says: the block} of the blocks that begin with a comment."""
    found = {}
    for match in BLOCK.finditer(page(name)):
        first, _, _ = match[2].partition("\n")
        if first.startswith("# "):
            found[first.removeprefix("# ")] = match[2]
    return found


def rows(text):
    """Return the rows of all tables of a page as lists of cells."""
    lines = [line.replace(r"\|", "¦") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("¦", "|") for cell in line.strip("|").split("|")] for line in lines]


def folded(text):
    return re.sub(r"\s+", " ", text)


# --- the site


class Resources(HTMLParser):
    """What a page makes a browser fetch; a plain link, which it follows when somebody asks, is none."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        wanted = {"src", "srcset", "data", "poster", "href" if tag != "a" else "src"}
        self.found += [value or "" for name, value in attrs if name in wanted]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    call = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        ROOT / "mkdocs.yml",
        "--site-dir",
        out,
    ]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


def test_the_site_has_every_page_and_asks_for_nothing_over_a_network(site):
    built = sorted(site.glob("*.html"))
    assert {path.stem for path in built} == {path.stem for path in PAGES} | {"404"}
    for path in built:
        parser = Resources()
        parser.feed(path.read_text(encoding="utf-8"))
        assert parser.found
        assert [one for one in parser.found if re.match(r"(\w+:)?//", one)] == [], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_files_and_modules_that_exist(path):
    text = path.read_text(encoding="utf-8")
    made = {name.partition(",")[0] for one in ("extend", "tutorial") for name in blocks(one)}
    for name in set(re.findall(r"(?<![\w/-])((?:pipeline|train|eval|workflow|tests|profiles)/[\w./-]+\.\w+)", text)):
        assert (ROOT / name).is_file() or name in made, name
    for name in set(re.findall(r"python -m ([a-z_.]+)", text)):
        place = ROOT.joinpath(*name.split("."))
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), name


def test_targets_and_keys_are_known():
    rules = "".join(path.read_text() for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    known = {*re.findall(r"^rule (\w+):", rules + (ROOT / "Snakefile").read_text(), re.MULTILINE), "all"}
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    named = re.findall(r"snakemake (?:-\S+ \S+ )*(?:-n )?(\w+)(?= --|$|`)", text, re.MULTILINE)
    assert len(named) > 10
    assert set(named) <= known
    described = {line.partition(":")[0].partition(" ")[0].rpartition(".")[2] for line in keys()}
    for name in set(re.findall(r"`(?:training|model|heatmap|guidance|evaluation)\.(\w+)[`:]", text)) - {"csv"}:
        assert name in described, name


@pytest.mark.parametrize(("name", "file"), [("tutorial", "own.yaml")])
def test_a_config_is_right(name, file):
    parse(yaml.safe_load(blocks(name)[file]), file)


# --- the examples


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the project's code, with the files of the page on extending in it."""
    copy = tmp_path_factory.mktemp("project")
    skipped = shutil.ignore_patterns("__pycache__", "golden", "slurm")
    for package in ("pipeline", "train", "eval", "workflow", "tests"):
        shutil.copytree(ROOT / package, copy / package, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for place, text in blocks("extend").items():
        if place == FAMILY:
            contract = copy / "tests" / "test_contract.py"
            entry = text.partition("\n")[2]
            contract.write_text(contract.read_text().replace("FAMILY = {\n", f"FAMILY = {{\n{entry}", 1))
        else:
            assert not (copy / place).exists(), f"{place} is there already"
            (copy / place).write_text(text, encoding="utf-8")
    return copy


def python(project, *arguments):
    call = [sys.executable, *map(str, arguments)]
    done = subprocess.run(call, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_examples_are_one_of_each(project):
    families = {place.rpartition("/")[0] for place in blocks("extend") if "/" in place}
    plugins = {"pipeline/sources", "pipeline/detectors", "pipeline/extractors", "pipeline/codebooks", "train/methods"}
    assert families == {*plugins, "tests"}


def test_the_examples_are_in_the_style_of_the_project(project):
    files = [place for place in blocks("extend") if place.endswith(".py")]
    assert len(files) == 4
    for arguments in (("check",), ("format", "--check")):
        python(project, "-m", "ruff", *arguments, *files)


PREPARATION = """
import csv, sys
from pathlib import Path
import cv2, numpy as np
from pipeline import align, index, landmarks, shards
from pipeline.action_units import render
from pipeline.errors import UserError
from pipeline.expressions import SIX, Expression, codebook

folder, truth = Path(sys.argv[1]), Path(sys.argv[2])
drawn = list(csv.DictReader(truth.open()))
lines = [["file", "expression", "split", "person"]]
(folder / "faces").mkdir()
for row in drawn:
    dark = cv2.imread(str(truth.parent / row["path"])) // 3
    cv2.imwrite(str(folder / "faces" / f"{row['id']}.png"), dark)
    lines.append([f"faces/{row['id']}.png", row["expression"].upper(), row["split"], row["identity"]])
with (folder / "labels.csv").open("w", newline="") as file:
    csv.writer(file).writerows(lines)

# the source, through the index
counts = index.build("listed", folder, 1, folder / "index.csv")
found = index.samples(folder / "index.csv")
assert [one.path for one in found] == [line[0] for line in lines[1:]]
assert [one.expression.label for one in found] == [row["expression"] for row in drawn]
assert [one.identity for one in found] == [row["identity"] for row in drawn]
assert sum(count.found for count in counts) == len(drawn)
good = (folder / "labels.csv").read_text()
for wrong, says in (("../a.png,fear,train,x", "leads out"), ("a.png,bored,train,x", "unknown expression 'bored'"),
                    ("a.png,fear,train,", "there is no person"), ("a.png,fear,exam,x", "'exam' is not one of")):
    (folder / "labels.csv").write_text(f"{good}{wrong}\\n")
    try:
        index.build("listed", folder, 1, folder / "other.csv")
        raise SystemExit(f"{wrong} was not refused")
    except UserError as error:
        assert says in str(error) and "\\n" not in str(error), error
(folder / "labels.csv").write_text(good)

# the detector, on dark pictures
done = align.build(folder / "index.csv", folder, 0, folder / "0.h5", detector="evened", size=224, quality=95,
                   mode="corrected")
assert done["ok"] + done["several"] == len(drawn), done
assert all(step.startswith("evened_") for step in shards.read(folder / "0.h5", "step")["step"])

# the extractor, beside the truth
matrices = dict(zip(*shards.read(folder / "0.h5", "id", "matrix").values()))
done = landmarks.build(folder / "0.h5", folder / "points.h5", "mirrored", {"tolerance": "0.08"})
assert done["ok"] == len(drawn), done
placed = shards.read(folder / "points.h5")
assert ((placed["quality"] > 0.2) & (placed["quality"] <= 1)).all(), placed["quality"]
own = {f"faces/{row['id']}.png": row["landmarks"] for row in drawn}
away = []
for name, points in zip(placed["id"], placed["points"]):
    true = np.array(own[name].split(";"), float).reshape(68, 2)
    matrix = matrices[name]
    away.append(np.linalg.norm(points - (true @ matrix[:, :2].T + matrix[:, 2]), axis=1).mean())
assert np.mean(away) < 12, away  # of 224 px
try:
    landmarks.build(folder / "0.h5", folder / "no.h5", "mirrored", {"tolerance": "wide"})
    raise SystemExit("tolerance 'wide' was not refused")
except UserError as error:
    assert "option tolerance" in str(error)

# the codebook, on these landmarks
part, whole = codebook("upper_face"), codebook("paper_code")
for expression in SIX:
    assert part[expression] == tuple(au for au in whole[expression] if au <= 7)
    for geometry in ("published", "symmetric"):
        books = ("upper_face", "paper_code")
        own, other = (render(placed["points"][0], expression, 224, book, geometry) for book in books)
        assert own.shape == (224, 224) and own.min() == 0 and own.max() == 1
        assert not np.allclose(own, other)
        assert own[150:].sum() < 0.5 * other[150:].sum() + 1e-6  # nothing new at the mouth
assert render(placed["points"][0], Expression.NEUTRAL, 224, "upper_face") is None
"""


def test_source_detector_extractor_and_codebook_prepare_drawn_faces(project, tmp_path):
    python(
        project, "-m", "pipeline.sources.synthetic.generate", "--out", tmp_path / "drawn",
        "--identities-train", 1, "--identities-test", 1, "--size", 160, "--seed", 5, "--workers", 1,
    )  # fmt: skip
    (tmp_path / "mine").mkdir()
    python(project, "-c", PREPARATION, tmp_path / "mine", tmp_path / "drawn" / "truth.csv")


METHOD = """
import torch
from pipeline.plugins import names
from train.config import Card
from train.losses import au_loss
from train.method import Batch, build
from train.options import method_options

assert "lse" in names("train.methods") and method_options("lse") == ["sharpness"]

def card(**options):
    return Card.model_validate({
        "dataset": "none", "method": "lse", "variant": "au", "seed": 0, "protocol": "heldout",
        "data": {"folder": "none"}, "heatmap": {}, "guidance": {"weight": 5.0},
        "model": {"backbone": "resnet18_quarter", "init": "none", "image_size": 64, "options": options},
        "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.02},
    })

torch.manual_seed(0)
method = build(card(sharpness=3.0))
classes = [1, 2, 3, 5]
images, heatmaps = torch.randn(4, 3, 64, 64), torch.rand(4, 64, 64)
batch = Batch(images, torch.eye(7)[classes], heatmaps, torch.ones(4, dtype=torch.bool))
output = method(batch.images)
maps = output.maps
assert output.logits.shape == (4, 7) and maps.shape[:2] == (4, 7)
assert torch.equal(method.cam(output, classes), maps[torch.arange(4), classes])
places = maps.shape[2] * maps.shape[3]
torch.testing.assert_close(output.logits, torch.log(torch.exp(3.0 * maps).sum((2, 3)) / places) / 3.0)
for sharpness, limit in ((1e-3, maps.mean((2, 3))), (1e4, maps.amax((2, 3)))):
    method.sharpness = sharpness
    torch.testing.assert_close(method(batch.images).logits, limit, rtol=0, atol=2e-3)
method.sharpness = 3.0
optimiser = torch.optim.SGD(method.parameters(), lr=0.02)
before = [value.clone() for value in method.parameters()]
output = method(batch.images, batch.target)
loss = method.classification_loss(output, batch.target) + 5 * au_loss(output.features, batch, [5])
loss.backward()
optimiser.step()
assert torch.isfinite(loss)
assert all(not torch.equal(old, new) for old, new in zip(before, method.parameters()))
"""


def test_the_method_follows_its_formula_and_trains(project):
    python(project, "-c", METHOD)


def test_the_method_keeps_the_contract_of_all_methods(project):
    chosen = ("-k", "lse or complete", "-p", "no:cacheprovider", "-q")
    said = python(project, "-m", "pytest", "tests/test_contract.py", *chosen)
    assert "11 passed" in said, said


def test_all_of_it_is_a_config(project):
    said = python(project, "-m", "workflow.config", "mine.yaml")
    assert "table1: 12 runs" in said
    assert "heldout/mine/lse/au-w5-l5/seed2" in said


# --- the numbers


def test_every_number_of_a_table_is_explained_under_its_heading():
    explained = {row[0].strip("`"): row[1] for row in rows(page("metrics")) if row[0].startswith("`")}
    for name, heading in HEADINGS.items():
        assert explained.get(name) == heading, name
    shown = {metric for kind in KINDS.values() for _, metric in kind.columns}
    assert shown <= explained.keys()
    assert {name.removeprefix("floor_") for name in explained if name.startswith("floor_")} == FLOORS.keys()


def test_a_constant_map_scores_what_the_page_says():
    said = {row[0].strip("`"): row[4] for row in rows(page("metrics")) if len(row) == 6}
    heatmap = torch.zeros(1, 20, 20)
    heatmap[:, 3:9, 5:12] = 1
    share = float(heatmap.mean())
    words = {"K / pixels": share, "k / (2 − k), k = K / pixels": share / (2 - share)}
    found = localisation(torch.full((1, 20, 20), 0.3), heatmap)
    assert len(found) == 8
    for name, value in found.items():
        expected = words[said[name]] if said[name] in words else float(said[name])
        np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=name)


def test_chance_levels_are_those_of_the_formulas():
    text = page("metrics")
    assert f"{np.log(7):.3f} (ln 7)" in text
    assert f"{6 / 7:.3f} (6/7)" in text
    assert f"{100 / 7:.1f} (1/7)" in text
    assert f"{100 / 6:.1f} (1/6)" in text
    assert (min(FRACTIONS), max(FRACTIONS)) == (0.1, 0.9)
    assert "while 10 to 90 % of the pixels" in text


def test_levels_on_real_faces_are_those_that_the_project_states():
    readme = folded((ROOT / "README.md").read_text(encoding="utf-8"))
    for number in ("0.582 → 0.887", "-0.848 → 0.502", "reaches about 0.77"):
        assert number in readme, f"README no longer says {number}; mend docs/explain.md"
    said = folded(page("explain"))
    assert "0.582 and a skill of −0.848" in said
    assert "0.887 and 0.502" in said
    assert "about 0.77" in said


# --- labels, layouts, statuses


def test_label_orders_are_those_of_the_code():
    found = {row[0]: row[1:] for row in rows(page("faq")) if len(row) == 9}
    titles = {value: value.label.capitalize() for value in Expression}
    rafdb = [titles[RAFDB[number]] if number in RAFDB else "" for number in range(8)]
    affectnet = [titles[AFFECTNET[number]] if number in AFFECTNET else OTHERS[number] for number in range(8)]
    assert found["RAF-DB"] == rafdb
    assert found["AffectNet"] == affectnet
    own = next(cells for name, cells in found.items() if name.startswith("this project"))
    assert own == [*(titles[Expression(number)] for number in range(7)), ""]
    for number in (8, 9, 10):
        assert f"{number} {OTHERS[number]}" in folded(page("faq"))


def test_every_status_is_explained():
    explained = [row[0].strip("`") for row in rows(page("faq")) if row[0].startswith("`")]
    assert explained[: len(FACES)] == list(FACES)
    assert explained[len(FACES) : len(FACES) + len(LANDMARKS)] == list(LANDMARKS)


def test_layouts_and_counts_are_those_of_the_sources():
    text = folded(page("faq"))
    assert "basic/EmoLabel/list_patition_label.txt spelt so" in text
    for counts, numbers in ((RAFDB_COUNTS, "12,271 3,068"), (AFFECTNET_COUNTS, "283,901 3,500")):
        totals = [sum(count for (split, _), count in counts.items() if split == name) for name in ("train", "test")]
        assert [f"{total:,}" for total in totals] == numbers.split()
        assert "{} training and {} test faces".format(*numbers.split()) in folded(page("tutorial"))
    for part in (
        "train_set/images/0.jpg",
        "Manually_Annotated_file_lists/",
        "Manually_Annotated_Images/",
        "valid_set/",
    ):
        assert part in text


def test_the_units_that_geometries_draw_are_named():
    drawn = {ellipse.au for ellipse in geometry_table("symmetric").ellipses}
    assert drawn == {ellipse.au for ellipse in geometry_table("published").ellipses}
    assert drawn == {1, 2, *range(4, 8), 9, 10, 12, *range(14, 18), 20, *range(23, 28), 43}
    assert "AU 1, 2, 4 to 7, 9, 10, 12, 14 to 17, 20, 23 to 27 and 43" in folded(page("extend"))


def test_the_examples_are_not_in_the_project_itself():
    assert "upper_face" not in names("pipeline.codebooks")
    assert codebook("paper_code")[Expression.NEUTRAL] == ()
