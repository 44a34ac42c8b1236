"""The documentation site as a reader opens it: from disk, in Chromium, on a desktop and on a phone."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.pages import PAGES
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow
PHONE, DESKTOP = 390, 1440  # CSS pixels
HINT = "NO_MKDOCS_2_WARNING"  # keeps the theme's note on its successor off the log


class Resources(HTMLParser):
    """What a page makes a browser load. A link is not: the browser follows it on a click only."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        wanted = {"src", "srcset", "data", "poster", "href" if tag != "a" else "src"}
        self.addresses += [value or "" for name, value in attrs if name in wanted]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    call = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out]
    done = subprocess.run(call, cwd=ROOT, env={**os.environ, HINT: "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


@pytest.fixture
def opened(driver, site):
    """Open a page at a width; clear the logs of the page before."""

    def open_page(name, width=DESKTOP):
        driver.get_log("performance")
        driver.get_log("browser")
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get((site / name).as_uri())
        return driver

    return open_page


def requested(driver):
    """Return the addresses that the browser has requested since the logs were read last."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]


def test_the_site_has_every_page_and_names_no_other_server(site):
    pages = sorted(site.glob("*.html"))
    assert {path.stem for path in pages} == {path.stem for path in PAGES} | {"404"}
    for path in pages:
        parser = Resources()
        parser.feed(path.read_text(encoding="utf-8"))
        assert parser.addresses
        assert [address for address in parser.addresses if re.match(r"(\w+:)?//", address)] == [], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", path.read_text(encoding="utf-8")), path.name


def test_search_works_from_disk_and_loads_nothing_from_elsewhere(opened):
    driver = opened("index.html")
    driver.find_element(By.CSS_SELECTOR, "input.md-search__input").send_keys("lambda")
    results = WebDriverWait(driver, 30).until(
        lambda browser: browser.find_elements(By.CSS_SELECTOR, ".md-search-result__item a.md-search-result__link")
    )
    targets = [result.get_attribute("href") for result in results]
    assert any("design.html" in target for target in targets), targets
    assert all(target.startswith("file:") for target in targets)
    addresses = requested(driver)
    assert any("search_index.js" in address for address in addresses)
    assert {address.partition(":")[0] for address in addresses} <= {"file", "data", "chrome", "about", "blob"}
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_fits_a_phone_and_loads_nothing_from_elsewhere(opened, path):
    driver = opened(f"{path.stem}.html", PHONE)
    assert driver.execute_script("return innerWidth") == PHONE
    assert driver.execute_script("return document.scrollingElement.scrollWidth") <= PHONE
    assert {address.partition(":")[0] for address in requested(driver)} <= {"file", "data", "chrome", "about", "blob"}


def test_the_toggle_switches_to_dark_mode_and_back(opened):
    driver = opened("index.html")
    background = "return getComputedStyle(document.body).backgroundColor"
    before = driver.execute_script(background)
    toggle = "label[for^=__palette]:not([hidden])"
    driver.find_element(By.CSS_SELECTOR, toggle).click()
    assert driver.execute_script("return document.body.dataset.mdColorScheme") == "slate"
    assert driver.execute_script(background) != before
    driver.find_element(By.CSS_SELECTOR, toggle).click()
    assert driver.execute_script(background) == before


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("au_guidance.au_loss", "averaged over the valid faces"),
        ("au_guidance.render", "AU heatmap A of one face"),
        ("eval.api.load", "Load a network"),
    ],
)
def test_the_reference_holds_the_docstrings(opened, name, shown):
    driver = opened("api.html")
    heading = driver.find_element(By.ID, name)
    assert shown in heading.find_element(By.XPATH, "./ancestor::div[contains(@class, 'doc-object')][1]").text
