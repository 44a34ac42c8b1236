"""The report as a reader opens it: from disk, in Chromium, wide and narrow; skips where no Chromium is installed."""

import json

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from eval.report.page import build_page
from tests.support import reported
from tests.support.contrast import CONTRAST

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    reported.write(folder)
    path = folder / "moved" / "report.html"  # no file lies beside it
    path.parent.mkdir()
    path.write_text(build_page(folder / "grid.json", folder), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(driver, address):
    resize(driver, 1440)
    driver.get(address)
    return driver


def resize(driver, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def column(table, number):
    """The texts of a column, from top to bottom."""
    return [one.get_property("textContent") for one in table.find_elements(By.CSS_SELECTOR, f"td:nth-child({number})")]


def shown(driver):
    return [one for one in driver.find_elements(By.CSS_SELECTOR, ".face") if one.is_displayed()]


def test_no_error_and_nothing_from_the_network(opened):
    requests = [
        message["params"]["request"]["url"]
        for entry in opened.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"
    ]
    assert requests
    assert {url.partition(":")[0] for url in requests} <= {"file", "data", "chrome"}
    assert {url for url in requests if url.startswith("file")} == {opened.current_url}
    assert opened.get_log("browser") == []
    assert opened.execute_script("return [...document.images].every(one => one.complete && one.naturalWidth)")


def test_a_table_is_sorted_by_click_and_by_key_numbers_as_numbers(opened):
    table = opened.find_element(By.CSS_SELECTOR, "#table-table1-guidance table")
    heads = table.find_elements(By.CSS_SELECTOR, "thead tr:last-child th")
    place = next(n for n, one in enumerate(heads, start=1) if one.text.startswith("difference"))
    button = heads[place - 1].find_element(By.TAG_NAME, "button")

    def numbers():
        return [float(text.replace("−", "-")) for text in column(table, place)]

    before = numbers()
    button.click()
    assert numbers() == sorted(before) != before
    assert heads[place - 1].get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert numbers() == sorted(before, reverse=True)
    assert heads[place - 1].get_attribute("aria-sort") == "descending"
    heads[0].find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    assert column(table, 1) == sorted(column(table, 1))
    assert heads[place - 1].get_attribute("aria-sort") is None


def test_the_gallery_shows_what_is_asked_for(opened):
    form = opened.find_element(By.CSS_SELECTOR, "form.filters")
    assert len(shown(opened)) == 21  # three faces of each class, of the first of two runs
    assert form.find_element(By.TAG_NAME, "output").text == "21 of 42 faces"
    Select(form.find_element(By.NAME, "expression")).select_by_value("disgust")
    assert [one.get_attribute("data-expression") for one in shown(opened)] == ["disgust"] * 3
    Select(form.find_element(By.NAME, "outcome")).select_by_value("au")  # of three, one each: mended, broken, right
    assert [one.find_element(By.TAG_NAME, "h3").text for one in shown(opened)] == ["disgust test_0015"]
    Select(form.find_element(By.NAME, "outcome")).select_by_value("none")
    assert shown(opened) == []
    assert form.find_element(By.TAG_NAME, "output").text == "0 of 42 faces"
    form.find_element(By.TAG_NAME, "button").click()
    assert len(shown(opened)) == 42


def test_a_class_leads_to_its_faces(opened):
    opened.find_element(By.CSS_SELECTOR, "#class-anger[open] a[data-show]").click()  # the first class is open
    assert {one.get_attribute("data-expression") for one in shown(opened)} == {"anger"}


def test_the_keyboard_reaches_the_content_and_what_is_focused_is_seen(opened):
    opened.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    skip = opened.switch_to.active_element
    assert skip.text == "Skip to the content"
    assert skip.rect["y"] >= 0
    skip.send_keys(Keys.ENTER)
    assert opened.switch_to.active_element.get_attribute("id") == "content"
    opened.switch_to.active_element.send_keys(Keys.TAB)
    style = "return getComputedStyle(document.activeElement).outlineStyle"
    assert opened.execute_script(style) == "solid"


def test_a_figure_is_enlarged_and_closed(opened):
    opened.find_element(By.CSS_SELECTOR, ".enlarge").send_keys(Keys.ENTER)
    dialog = opened.find_element(By.ID, "large")
    assert dialog.is_displayed()
    first = opened.find_element(By.CSS_SELECTOR, ".enlarge img")
    assert dialog.find_element(By.TAG_NAME, "img").get_attribute("alt") == first.get_attribute("alt")
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()


@pytest.mark.parametrize("width", [1440, 768, 390, 320])
def test_only_boxes_scroll_sideways(opened, width):
    resize(opened, width)
    opened.execute_script("document.querySelectorAll('details').forEach(one => (one.open = true))")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    # a wide table scrolls in its own box, which the keyboard can reach
    box = opened.find_element(By.CSS_SELECTOR, "#table-table1-baselines .scroll")
    assert opened.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", box)
    assert box.get_attribute("tabindex") == "0"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(opened, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    opened.execute_script("document.querySelectorAll('details').forEach(one => (one.open = true))")
    weak = opened.execute_script(CONTRAST)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert weak == []
