"""The report's pictures: what is damaged is left out, what is heavy is thinned."""

from eval.records.runs import expected_runs, read_grid
from eval.report import classes, gallery, runs
from eval.report.page import build_page


def test_damaged_pictures_are_named_and_left_out(small):
    figures = small / "figures"
    (figures / "table1" / "baselines.png").write_bytes(b"no picture")
    (figures / "heldout/faces/cam/au-w5-l5/seed0/gallery/gallery.json").write_text("[{}]")
    page = build_page(small / "grid.json", small)
    assert "table1/baselines.png" in page.partition("damaged, or of stale runs")[2]
    assert "Not shown, because older than its runs or damaged: CAM, faces (heldout)" in page


def test_a_heavy_gallery_keeps_as_many_faces_of_every_class():
    picture = ("CAM", "text", "x" * 100, "")
    faces = [
        gallery.Face(f"{n}", name, "run", "", "", True, True, [picture]) for name in ("fear", "anger") for n in "123"
    ]
    kept = gallery.fitting(faces, 450)  # four pictures of 100 fit
    assert [(face.expression, face.name) for face in kept] == [
        ("anger", "1"),
        ("anger", "2"),
        ("fear", "1"),
        ("fear", "2"),
    ]
    assert gallery.fitting(faces, 10_000) == [*faces[3:], *faces[:3]]


def test_classes_have_one_order_everywhere(folder):
    order = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    grid = read_grid(folder / "grid.json")
    found = expected_runs(grid, folder)
    base = runs.base(grid, found)
    assert gallery.of_runs(found, base, folder / "figures").expressions == order
    shown = classes.of_runs(found, base)
    assert [one.name for one in shown] == order
    columns = shown[3].confusion.columns
    assert [column.label for column in columns][-7:] == order
    cells = dict(zip([column.label for column in columns], shown[3].confusion.rows[0], strict=True))
    assert [cells[label].text for label in order] == ["6.2", "6.2", "6.2", "62.5", "6.2", "6.2", "6.2"]  # 10 of 16
