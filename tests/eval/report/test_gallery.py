"""The report's pictures: what is damaged is left out, what is heavy is thinned."""

from eval.report import gallery
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
        ("fear", "1"),
        ("fear", "2"),
        ("anger", "1"),
        ("anger", "2"),
    ]
    assert gallery.fitting(faces, 10_000) == faces
