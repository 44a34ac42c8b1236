"""The answers of the page's server: explained pictures, limits, and requests that it refuses."""

import base64
import io
import json
import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from eval.explain.app import samples, server
from eval.explain.app.guards import HEADERS
from eval.explain.explainer import Explainer
from eval.explain.outputs import document
from eval.explain.panel import draw_panel
from pipeline.storage import images

pytestmark = pytest.mark.slow

LIMITS = server.Limits(megabytes=1, megapixels=40, faces=2)


@pytest.fixture(scope="module")
def explainer(trained):
    return Explainer(trained / "run" / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def app(explainer):
    return server.create_app(explainer, LIMITS)


@pytest.fixture(scope="module")
def face(trained):
    """A picture of a test face."""
    return next((trained / "generated").rglob("p0003_happiness_0.jpg")).read_bytes()


def pixels(url):
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))))


def test_a_picture_is_explained(app, face, explainer):
    answer = app.test_client().post("/explain?name=her.jpg", data=face)
    assert answer.status_code == 200
    (explained,) = answer.json["faces"]
    assert next(iter(explained["probabilities"])) == explained["label"]
    assert sum(explained["probabilities"].values()) == pytest.approx(1)
    assert all(text.endswith(" %") for text in explained["percent"].values())
    assert {name for name in explained["maps"] if name.startswith("cam ")} == {
        f"cam {label}" for label in explained["expected"]
    }
    assert set(explained["tables"]) == set(explained["maps"])
    rows = {au: row for row in explained["tables"][f"cam {explained['label']}"] for au in row["aus"]}
    assert set(map(str, rows)) <= set(explained["regions"])
    assert rows[12]["lift"] == pytest.approx(rows[12]["share"] / rows[12]["uniform"], abs=0.01)
    picture = images.read_bytes(face)
    assert np.abs(pixels(answer.json["overview"]).astype(int) - picture).mean() < 4
    assert answer.json["document"] == json.loads(json.dumps(document("her.jpg", explainer.explain(picture))))


def test_the_page_says_what_the_network_is_for(app, explainer):
    about = app.test_client().get("/about").json
    assert (about["domain"], about["notes"]) == ("drawings", explainer.notes)
    assert len(about["notes"]) == 1


def test_the_panel_is_that_of_the_command(app, face, explainer):
    answer = app.test_client().post("/panel.png", data=face)
    assert answer.content_type == "image/png"
    picture = images.read_bytes(face)
    assert (np.array(Image.open(io.BytesIO(answer.data))) == draw_panel(explainer.explain(picture), picture)).all()


def test_the_largest_faces_are_explained_and_the_others_named(app):
    picture = images.read_bytes(samples.sample("surprise"))
    row = np.concatenate([picture, np.full_like(picture, 128), picture], axis=1)
    row[40:174, 260:394] = cv2.resize(picture, (134, 134), interpolation=cv2.INTER_AREA)
    answer = app.test_client().post("/explain", data=images.encode(row, None).tobytes()).json
    boxes = [one["box"] for one in answer["faces"]]
    assert len(boxes) == 2
    assert boxes[0][2] < 0.36
    assert boxes[1][0] > 0.64
    ((x0, y0, x1, y1),) = answer["left_out"]
    assert 0.33 < x0 < x1 < 0.67
    assert 0 <= y0 < y1 <= 1
    assert [one["number"] for one in answer["document"]["faces"]] == [1, 2]


def drawn(size, colour=(120, 130, 120)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"", 400, "cannot be read as a picture: empty file"),
        (b"no picture", 400, "cannot be read as a picture: no image"),
        (drawn((8000, 8000)), 400, "larger than 40 megapixels: 8000 x 8000"),
        (np.random.default_rng(0).bytes(1_100_000), 413, "the file is larger than 1 MB"),
    ],
)
def test_bad_files_get_an_error_message(app, data, status, message):
    for path in ("/explain", "/panel.png"):
        answer = app.test_client().post(path, data=data)
        assert answer.status_code == status
        assert message in answer.json["error"]


def test_a_picture_without_a_face(app):
    client = app.test_client()
    answer = client.post("/explain", data=drawn((160, 120)))
    assert (answer.status_code, answer.json["faces"], answer.json["document"]["faces"]) == (200, [], [])
    assert pixels(answer.json["overview"]).shape == (120, 160, 3)
    assert client.post("/panel.png", data=drawn((160, 120))).json == {"error": server.NO_FACE}


def test_other_hosts_are_kept_out(app):
    client = app.test_client()
    for host in ("127.0.0.1:7860", "localhost", "localhost:1", "[::1]:7860"):
        assert client.get("/", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example"):
        assert client.get("/", headers={"Host": host}).status_code == 403
    headers = client.get("/").headers
    assert {key: headers[key] for key in HEADERS} == HEADERS
    for path in ("/page/../server.py", "/page/%2e%2e/server.py", "/etc/passwd", "/explain", "/samples/x.jpg"):
        assert client.get(path).status_code in (404, 405)


class Unread(io.BytesIO):
    """A body that nobody may read."""

    def read(self, *_):
        raise AssertionError("the body is read")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8000"},  # another page of this machine
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:7860"},
    ],
)
def test_what_another_page_causes_is_refused_before_its_body_is_read(app, headers):
    client = app.test_client()
    sent = {"headers": {"Host": "localhost:7860"} | headers, "input_stream": Unread(), "content_length": 1000}
    answer = client.post("/explain", **sent)
    assert answer.status_code == 403
    assert "another page" in answer.json["error"]
    assert client.get("/samples/group.jpg", headers=sent["headers"]).status_code == 403


def test_the_page_itself_and_programs_are_served(app, face):
    client = app.test_client()
    own = {"Host": "localhost:7860", "Origin": "http://localhost:7860", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/explain", data=face, headers=own).status_code == 200
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link to the page


def test_one_picture_at_a_time_and_few_that_wait(explainer, face, monkeypatch):
    running, go_on = threading.Event(), threading.Event()
    inside = []

    def explain_picture(*_, **__):
        inside.append(threading.current_thread())
        running.set()
        assert go_on.wait(60)
        inside.pop()
        assert not inside
        return [], []

    monkeypatch.setattr(server.answers, "explain_picture", explain_picture)
    app = server.create_app(explainer, LIMITS)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(app.test_client().post("/explain", data=face)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    assert running.wait(60)
    refused = threads[5:]  # 1 that is explained and 4 that wait stay behind; the others have their answer
    while sum(thread.is_alive() for thread in threads) > 5:
        refused[0].join(0.05)
    assert [answer.status_code for answer in answers] == [503] * 7
    assert {answer.headers["Retry-After"] for answer in answers} == {"5"}
    assert "try again" in answers[0].json["error"]
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [503] * 7


def test_samples_are_drawn_faces(app, explainer):
    client = app.test_client()
    assert client.get("/about").json["samples"] == list(samples.NAMES)
    for name, n_faces in (("happiness", 1), ("group", 4)):
        picture = client.get(f"/samples/{name}.jpg")
        assert picture.content_type == "image/jpeg"
        assert picture.data == samples.sample(name)
        assert len(explainer.locate(images.read_bytes(picture.data))) == n_faces
