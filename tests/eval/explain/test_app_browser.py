"""The page as a user sees it, in Chromium, wide and narrow; skips where no Chromium is installed."""

import json
import threading

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from eval.explain.app import server
from eval.explain.app.listener import Listener
from eval.explain.explainer import Explainer
from tests.support.contrast import CONTRAST

pytestmark = pytest.mark.slow

WAIT = 60


@pytest.fixture(scope="module")
def face(trained):
    """A picture of a test face."""
    return next((trained / "generated").rglob("p0003_happiness_0.jpg"))


@pytest.fixture(scope="module")
def address(trained):
    explainer = Explainer(trained / "run" / "checkpoint.safetensors")
    listener = Listener("127.0.0.1", 0, server.create_app(explainer, server.Limits(faces=3)))
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.port}"
    listener.shutdown()
    thread.join()


@pytest.fixture
def opened(driver, address):
    resize(driver, 1440)
    driver.get_log("performance")
    driver.get_log("browser")
    driver.get(address)
    until(driver, lambda _: len(driver.find_elements(By.CSS_SELECTOR, "#samples button")) == 8)
    return driver


def resize(driver, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def until(browser, condition):
    return WebDriverWait(browser, WAIT).until(condition)


def status_says(browser, text):
    until(browser, lambda _: text in browser.find_element(By.ID, "status").text)


def give(browser, *paths):
    browser.find_element(By.ID, "file").send_keys("\n".join(map(str, paths)))


def sample(browser, name):
    browser.find_element(By.XPATH, f"//*[@id='samples']//button[.='{name}']").click()
    status_says(browser, f"drawn-{name}.jpg: ")


def texts(browser, selector):
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, selector)]


def focused(browser):
    return browser.switch_to.active_element


def outlined(browser):
    return {one.get_attribute("data-au") for one in browser.find_elements(By.CSS_SELECTOR, "#regions ellipse")}


def test_the_page_says_what_the_network_is_for(opened):
    (note,) = texts(opened, "#notes li")
    assert "photograph" in note
    assert not opened.find_element(By.ID, "drawn").is_displayed()


def test_upload_read_and_switch(opened, face):
    give(opened, face)
    status_says(opened, f"{face.name}: ")
    label, probability = opened.find_element(By.ID, "label").text.split(", ")
    assert probability.endswith(" %")
    assert opened.find_element(By.CSS_SELECTOR, "#words li").text.startswith(f"{label}, {probability}")
    assert texts(opened, "#probabilities tbody th")[0] == label
    chosen = Select(opened.find_element(By.ID, "class"))
    assert chosen.first_selected_option.text == label
    shown, rows = opened.find_element(By.ID, "map").get_attribute("src"), texts(opened, "#units tbody tr")
    other = "happiness" if label != "happiness" else "anger"
    chosen.select_by_visible_text(other)
    assert opened.find_element(By.ID, "map").get_attribute("src") != shown
    assert other in opened.find_element(By.ID, "map").get_attribute("alt")
    assert texts(opened, "#units tbody tr") != rows
    opened.find_element(By.CSS_SELECTOR, "[name=kind][value=attention]").click()
    assert "Attention of layer" in opened.find_element(By.ID, "map").get_attribute("alt")
    opened.execute_script("const one = document.getElementById('opacity'); one.value = 20; one.oninput();")
    assert opened.find_element(By.ID, "map").value_of_css_property("opacity") == "0.2"


def test_action_units_are_outlined_at_once_and_on_request(opened):
    sample(opened, "surprise")
    Select(opened.find_element(By.ID, "class")).select_by_visible_text("happiness")
    assert outlined(opened) == {"6", "12", "25"}
    opened.find_element(By.ID, "outlines").click()
    assert outlined(opened) == set()
    button = opened.find_element(By.CSS_SELECTOR, '#units tr[data-au="4"] button')
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-pressed") == "true"
    opened.find_element(By.ID, "opacity").send_keys(Keys.ARROW_LEFT)  # the outline stays when the focus leaves
    assert outlined(opened) == {"4"}
    assert opened.find_element(By.ID, "regions").get_attribute("aria-label") == "Outlined: AU4"


def test_several_files_become_a_list(opened, face, tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"film")
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")
    give(opened, face, tmp_path / "film.mp4", tmp_path / "page.html")
    status_says(
        opened, "3 pictures, 2 of them not explained: film.mp4: this is a film; use: python -m eval.explain film"
    )
    assert "page.html: this file cannot be read as a picture" in opened.find_element(By.ID, "status").text
    items = opened.find_elements(By.CSS_SELECTOR, "#list button")
    assert [item.text.splitlines()[-2] for item in items] == [face.name, "film.mp4", "page.html"]
    assert [item.get_attribute("aria-pressed") for item in items] == ["true", "false", "false"]
    items[1].click()
    assert "python -m eval.explain film.mp4" in opened.find_element(By.ID, "count").text
    assert not opened.find_element(By.ID, "face").is_displayed()
    items[0].click()
    assert opened.find_element(By.ID, "face").is_displayed()


def test_several_faces_are_numbered_from_left_to_right(opened):
    sample(opened, "group")
    assert opened.find_element(By.ID, "count").text.startswith("4 faces were found. The 3 largest are explained")
    numbers = opened.find_elements(By.CSS_SELECTOR, "#overview [data-number]")
    assert [one.get_attribute("data-number") for one in numbers] == ["1", "2", "3"]
    assert sorted(one.rect["x"] for one in numbers) == [one.rect["x"] for one in numbers]
    assert len(opened.find_elements(By.CSS_SELECTOR, "#overview .left-out")) == 1
    faces = opened.find_elements(By.CSS_SELECTOR, "#faces button")
    first = opened.find_element(By.ID, "picture").get_attribute("src")
    faces[2].send_keys(Keys.SPACE)
    assert opened.find_element(By.ID, "label").text.startswith("Face 3: ")
    assert focused(opened) == faces[2]
    assert opened.find_element(By.ID, "picture").get_attribute("src") != first
    numbers[1].click()
    assert opened.find_element(By.ID, "label").text.startswith("Face 2: ")
    assert [one.get_attribute("aria-pressed") for one in faces] == ["false", "true", "false"]


def test_panel_and_json_are_downloaded(opened, face, tmp_path):
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    give(opened, face)
    status_says(opened, f"{face.name}: ")
    opened.find_element(By.ID, "panel").click()
    opened.find_element(By.ID, "json").click()
    files = [tmp_path / f"{face.stem}.png", tmp_path / f"{face.stem}.json"]
    until(opened, lambda _: all(file.is_file() for file in files))
    assert files[0].read_bytes().startswith(b"\x89PNG")
    document = json.loads(files[1].read_text())
    assert document["image"] == face.name
    assert document["faces"][0]["label"] == opened.find_element(By.ID, "label").text.split(", ")[0]


def test_without_a_webcam_it_says_so(opened):
    opened.find_element(By.ID, "webcam").click()
    status_says(opened, "There is no webcam")


def test_by_keyboard_from_the_top_to_an_action_unit(opened):
    body = opened.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert focused(opened).text == "Skip to the content"
    focused(opened).send_keys(Keys.ENTER)
    seen = []
    for _ in range(60):
        ActionChains(opened).send_keys(Keys.TAB).perform()
        ring = "const one = document.activeElement; const shown = one.id === 'file' ? one.nextElementSibling : one;"
        style = opened.execute_script(ring + "return getComputedStyle(shown).outlineStyle")
        now = focused(opened)
        seen.append(now.get_attribute("id") or now.text)
        assert style == "solid", seen
        if now.text == "happiness" and "label" not in seen:
            now.send_keys(Keys.ENTER)
            status_says(opened, "drawn-happiness.jpg: ")
            seen.append("label")
        if now.text.startswith("AU"):
            break
    assert seen[:4] == ["file", "webcam", "neutral", "happiness"]
    places = [seen.index(one) for one in ("panel", "json", "opacity", "outlines", "class")]
    assert places == sorted(places)
    assert seen[-1].startswith("AU")


def test_no_message_and_no_request_elsewhere(opened, address):
    sample(opened, "group")
    requests = [
        message["params"]["request"]["url"]
        for entry in opened.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"
    ]
    assert f"{address}/explain?name=drawn-group.jpg" in requests
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert opened.get_log("browser") == []


@pytest.mark.parametrize("width", [1440, 1024, 390, 320])
def test_nothing_scrolls_sideways(opened, face, width):
    resize(opened, width)
    give(opened, face)
    status_says(opened, f"{face.name}: ")
    sample(opened, "group")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    opened.find_element(By.CSS_SELECTOR, "#list button").click()
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(opened, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    sample(opened, "group")
    weak = opened.execute_script(CONTRAST)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert weak == []


def test_every_control_and_picture_has_a_name(opened):
    sample(opened, "group")
    assert opened.execute_script(NAMELESS) == []


NAMELESS = """
const named = (one) => one.hasAttribute("alt") || one.hasAttribute("aria-label") || one.hasAttribute("aria-labelledby")
  || (one.tagName === "BUTTON" && one.textContent.trim()) || (one.labels && one.labels.length);
return [...document.querySelectorAll("button, input, select, img, svg, table")]
  .filter((one) => one.getClientRects().length && !named(one)).map((one) => one.outerHTML);
"""
