"""The origin of the numbers as the report shows it."""

from eval.report import origin


def test_validation_faces_are_named_for_each_dataset_and_protocol():
    metas = [
        {"card": {"protocol": protocol, "dataset": "faces"}, "scores": {"validation": said}}
        for protocol, said in (("heldout", "the dataset's own split, 11 faces"), ("paper", "the test set, 10 faces"))
    ]
    facts = dict(origin._trained([*metas, metas[0], {}], []))
    assert facts["validation"] == (
        "heldout, faces: the dataset's own split, 11 faces; or paper, faces: the test set, 10 faces"
    )
