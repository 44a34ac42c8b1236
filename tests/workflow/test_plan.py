"""What the jobs ask for."""

from types import SimpleNamespace

import pytest

from tests.support.tiny import CONFIG
from workflow.plan import Plan


@pytest.mark.parametrize(
    ("extractor", "options", "gpus"),
    [
        ("face_alignment", {}, 1),
        ("face_alignment", {"device": "cuda"}, 1),
        ("face_alignment", {"device": "cpu"}, 0),
        ("dlib", {}, 0),
    ],
)
def test_landmarks_of_a_network_claim_a_gpu(extractor, options, gpus):
    faces = CONFIG["datasets"]["faces"] | {"extractor": extractor, "extractor_options": options}
    plan = Plan.parse(CONFIG | {"datasets": {"faces": faces}})
    assert plan.extractor_gpus(SimpleNamespace(dataset="faces")) == gpus
