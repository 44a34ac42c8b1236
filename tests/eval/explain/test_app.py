"""The page as a user sees it: explained images, errors for bad files, and nothing loaded from other hosts."""

import io
import threading

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait
from werkzeug.serving import make_server

from eval.explain.app import server
from eval.explain.explainer import Explainer

pytestmark = pytest.mark.slow

WAIT = 60


@pytest.fixture(scope="module")
def app(trained):
    return server.create_app(Explainer(trained / "run" / "checkpoint.safetensors"), megabytes=1)


@pytest.fixture(scope="module")
def face(trained):
    """A picture of a test face."""
    return next((trained / "generated").rglob("p0003_happiness_0.jpg"))


def test_a_picture_is_explained(app, face):
    answer = app.test_client().post("/explain", data=face.read_bytes())
    assert answer.status_code == 200
    (explained,) = answer.json["faces"]
    assert next(iter(explained["probabilities"])) == explained["label"]
    assert sum(explained["probabilities"].values()) == pytest.approx(1)
    assert {name for name in explained["maps"] if name.startswith("cam ")} == {
        f"cam {label}" for label in explained["expected"]
    }
    assert set(explained["tables"]) == set(explained["maps"])
    rows = {au: row for row in explained["tables"][f"cam {explained['label']}"] for au in row["aus"]}
    assert set(map(str, rows)) <= set(explained["regions"])
    assert rows[12]["lift"] == pytest.approx(rows[12]["share"] / rows[12]["uniform"], abs=0.01)


def picture(size, colour=(120, 130, 120)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"", 400, "cannot be read as an image: empty file"),
        (b"no picture", 400, "cannot be read as an image: no image"),
        (picture((160, 160)), 200, "no face was found"),
        (picture((8000, 8000)), 400, "larger than 40 megapixels: 8000 x 8000"),
        (np.random.default_rng(0).bytes(1_100_000), 413, "the file is larger than 1 MB"),
    ],
)
def test_bad_files_get_an_error_message(app, data, status, message):
    answer = app.test_client().post("/explain", data=data)
    assert answer.status_code == status
    assert message in answer.json["error"]


def test_other_hosts_and_other_pages_are_kept_out(app):
    client = app.test_client()
    for host in ("127.0.0.1:7860", "localhost", "localhost:1", "[::1]:7860"):
        assert client.get("/", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:80"):
        assert client.get("/", headers={"Host": host}).status_code == 403
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    for path in ("/page/../server.py", "/page/%2e%2e/server.py", "/etc/passwd", "/explain"):
        assert client.get(path).status_code in (404, 405)


@pytest.fixture(scope="module")
def address(app):
    served = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()


@pytest.fixture
def opened(driver, address):
    driver.get_log("performance")
    driver.get(address)
    return driver


def give(browser, path):
    browser.find_element(By.ID, "file").send_keys(str(path))


def until(browser, condition):
    return WebDriverWait(browser, WAIT).until(condition)


def units(browser):
    return [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#units tbody tr")]


@pytest.mark.slow
class TestBrowser:
    def test_upload_read_and_switch(self, opened, face):
        give(opened, face)
        until(opened, lambda page: page.find_element(By.ID, "result").is_displayed())
        label, probability = opened.find_element(By.ID, "label").text.split()
        assert 0 < float(probability) <= 1
        assert opened.find_element(By.CSS_SELECTOR, "#words li").text.startswith(f"{label}, ")
        chosen = Select(opened.find_element(By.ID, "class"))
        assert chosen.first_selected_option.text == label
        first, before = opened.find_element(By.ID, "map").get_attribute("src"), units(opened)
        other = next(option.text for option in chosen.options if option.text not in (label, "neutral"))
        chosen.select_by_visible_text(other)
        until(opened, lambda page: page.find_element(By.ID, "map").get_attribute("src") != first)
        assert units(opened) != before
        opened.find_element(By.CSS_SELECTOR, "[name=kind][value=attention]").click()
        assert opened.find_element(By.ID, "map").get_attribute("src") != first
        Select(opened.find_element(By.ID, "layer")).select_by_index(0)
        row = opened.find_element(By.CSS_SELECTOR, '#units tr[data-au="12"]')
        row.click()
        shown = opened.find_elements(By.CSS_SELECTOR, "#regions ellipse")
        assert {ellipse.get_attribute("data-au") for ellipse in shown} == {"12"}
        assert len(shown) == 2
        opened.execute_script("const one = document.getElementById('opacity'); one.value = 20; one.oninput();")
        assert opened.find_element(By.ID, "map").value_of_css_property("opacity") == "0.2"

    def test_garbage_is_answered_and_the_page_goes_on(self, opened, face, tmp_path):
        (tmp_path / "page.html").write_text("<script>alert(1)</script>")
        give(opened, tmp_path / "page.html")
        until(opened, lambda page: "cannot be read as an image" in page.find_element(By.ID, "status").text)
        assert not opened.find_element(By.ID, "result").is_displayed()
        give(opened, face)
        until(opened, lambda page: page.find_element(By.ID, "result").is_displayed())

    def test_without_a_webcam_it_says_so(self, opened):
        opened.find_element(By.ID, "webcam").click()
        until(opened, lambda page: "There is no webcam" in page.find_element(By.ID, "status").text)

    def test_nothing_comes_from_elsewhere(self, opened, address, face):
        give(opened, face)
        until(opened, lambda page: page.find_element(By.ID, "result").is_displayed())
        loaded = opened.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert loaded
        assert all(name.startswith((address, "data:", "blob:")) for name in loaded), loaded
        assert [
            entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE" and "400" not in entry["message"]
        ] == []

    def test_a_phone_shows_all_of_it(self, opened, face):
        opened.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        )
        give(opened, face)
        until(opened, lambda page: page.find_element(By.ID, "result").is_displayed())
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 390
