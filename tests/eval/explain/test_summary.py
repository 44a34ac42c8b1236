"""The table and the page about many files: what a row says, in which order rows stand, in Chromium too."""

import json
import re
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from eval.explain import summary
from eval.explain.inputs import Input
from eval.explain.summary import COLUMNS, doubt, summarise
from pipeline.errors import UserError
from tests.support.explained import explanation


def source(name):
    return Input(Path("in") / name, f"{Path(name).stem}.explained")


def write(out, **options):
    """Two certain faces in a picture, an unsure one, a picture without a face, a broken one and a film."""
    with summarise(out, ["the network learnt from drawings"], **options) as written:
        written.add_picture(source("group.jpg"), [explanation("happiness", 0.999), explanation("anger", 0.8)])
        written.add_picture(source("<b>&.png"), [explanation("fear", 0.4, points=None, score=float("nan"))])
        written.add_picture(source("wall.jpg"), [])
        written.add_unreadable(source("broken.jpg"), "no image")
        written.add_film(source("film.mp4"), 31, 2, "31 of 60 frames")
    return (out / "index.html").read_text(encoding="utf-8")


def test_a_row_per_face_and_per_file_without_one(tmp_path):
    write(tmp_path)
    table = pd.read_csv(tmp_path / "summary.csv", keep_default_na=False)
    assert tuple(table) == COLUMNS
    assert table["image"].tolist() == [
        f"in/{name}" for name in ("group.jpg", "group.jpg", "<b>&.png", "wall.jpg", "broken.jpg", "film.mp4")
    ]
    assert table["status"].tolist() == ["ok", "ok", "ok", "no_face", "unreadable", "film"]
    assert table["number"].tolist() == ["1", "2", "1", "", "", ""]
    first, _, unsure, wall, broken, film = table.to_dict("records")
    face = explanation("happiness", 0.999)
    expected = {"label": "happiness", "probability": "0.999", "crop_size": "112.0", "score": "0.91", "quality": "0.8"}
    assert {name: first[name] for name in expected} == expected
    assert [first[name] for name in ("x0", "y0", "x1", "y1")] == ["10.0", "20.0", "66.0", "76.0"]
    assert first["warnings"] == "; ".join(face.warnings)
    assert first["results"] == "group.explained"
    assert unsure["score"] == ""
    assert wall["doubt"] == wall["label"] == broken["results"] == ""
    assert broken["warnings"] == "no image"
    assert (film["frames"], film["faces"], film["warnings"]) == ("31", "2", "31 of 60 frames")


def test_doubt_is_the_number_of_warnings_and_then_the_missing_probability():
    certain, unsure = explanation(probability=0.9, points=None), explanation(probability=0.4, points=None)
    assert doubt(certain) == pytest.approx(len(certain.warnings) + 0.1)
    assert doubt(unsure) == pytest.approx(len(unsure.warnings) + 0.6)
    assert len(unsure.warnings) == len(certain.warnings) + 1


def test_names_are_escaped_and_links_stay_in_the_folder(tmp_path):
    page = write(tmp_path)
    assert "&lt;b&gt;&amp;.png" in page
    assert "<b>&" not in page
    assert 'href="./%3Cb%3E%26.explained.png"' in page
    assert 'href="./wall.explained.json"' in page
    assert {'href="./film.explained.csv"', 'href="./film.explained.mp4"'} <= set(re.findall(r'href="[^"]+"', page))
    assert "broken.explained" not in page
    assert "3 faces, 1 picture without a face, 1 file that cannot be read, 1 film" in page
    assert "the network learnt from drawings" in page
    assert "&gt;99 %" in page


def test_without_faces_there_are_no_thumbnails(tmp_path):
    assert write(tmp_path).count("data:image/jpeg") == 3
    assert "data:image/jpeg" not in write(tmp_path, with_faces=False)


def test_thumbnails_end_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, "MAX_THUMBNAILS", 2)
    page = write(tmp_path)
    assert page.count("data:image/jpeg") == 2
    assert "Only the first 2 faces have thumbnails" in page


@pytest.mark.parametrize("name", ["summary.csv", "index.html"])
def test_a_file_of_another_origin_is_kept(name, tmp_path):
    write(tmp_path)
    write(tmp_path)  # its own may be replaced
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} is no file of this command"):
        write(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_memory_does_not_grow_with_the_files(tmp_path):
    face = explanation()
    face.warnings  # noqa: B018  (cached maps)
    peaks = []
    for count in (50, 500):
        tracemalloc.start()
        with summarise(tmp_path / str(count)) as written:
            for number in range(count):
                written.add_picture(source(f"{number}.jpg"), [face])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 300_000
    assert len(pd.read_csv(tmp_path / "500" / "summary.csv")) == 500


@pytest.fixture
def opened(driver, tmp_path):
    write(tmp_path)
    driver.get((tmp_path / "index.html").as_uri())
    return driver


def names(driver):
    return [cell.text.split()[0] for cell in driver.find_elements(By.CSS_SELECTOR, "tbody td:first-child")]


@pytest.mark.slow
def test_the_page_is_sorted_by_doubt_and_by_every_column(opened):
    wall, broken, film = "wall.jpg", "broken.jpg", "film.mp4"
    assert names(opened) == [wall, broken, "<b>&.png", "group.jpg", "group.jpg", film]
    assert opened.find_element(By.CSS_SELECTOR, "th[aria-sort]").text == "doubt"
    answers = [cell.text for cell in opened.find_elements(By.CSS_SELECTOR, "tbody td:nth-child(3)")]
    assert answers[2:5] == ["fear", "anger", "happiness"]
    for place, button in enumerate(opened.find_elements(By.CSS_SELECTOR, "th button"), start=1):
        button.send_keys(Keys.ENTER)
        head = opened.find_element(By.CSS_SELECTOR, "th[aria-sort]")
        assert head.get_attribute("aria-sort") == "ascending"
        assert opened.execute_script("return arguments[0].cellIndex", head) == place - 1
    opened.find_elements(By.CSS_SELECTOR, "th button")[3].send_keys(Keys.SPACE)
    shown = [cell.text for cell in opened.find_elements(By.CSS_SELECTOR, "tbody td:nth-child(4)")]
    assert shown[:3] == ["40 %", "80 %", ">99 %"]
    assert opened.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_only_the_table_scrolls_sideways(opened, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    requests = [
        message["params"]["request"]["url"]
        for entry in opened.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"
    ]
    assert all(url.endswith("/index.html") for url in requests if url.startswith("file"))
    assert {url.partition(":")[0] for url in requests} <= {"file", "data", "chrome"}


@pytest.mark.slow
def test_many_rows_are_shown_in_parts(driver, tmp_path):
    with summarise(tmp_path) as written:
        for number in range(450):
            written.add_picture(source(f"{number:03d}.jpg"), [])
    driver.get((tmp_path / "index.html").as_uri())
    assert len(names(driver)) == 200
    previous, following = driver.find_elements(By.CSS_SELECTOR, ".pages button")
    assert not previous.is_enabled()
    following.click()
    following.click()
    assert names(driver)[0] == "400.jpg"
    assert driver.find_element(By.TAG_NAME, "output").text == "rows 401 to 450 of 450"
    assert not following.is_enabled()
    driver.find_element(By.CSS_SELECTOR, "th button").click()
    assert names(driver)[0] == "000.jpg"
