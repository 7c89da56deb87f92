"""The page in a real browser: it draws what is on the board, asks for what is clicked, and keeps to this machine."""

from __future__ import annotations

import json
import shutil
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.boards import PLAN, TOKEN, Pretence, Served
from threefactor.live import Histogram
from threefactor.watch.board import RING, SWEPT, TICKS

pytest.importorskip("websockets", reason="needs websockets, the extra `watch`")
pytest.importorskip("selenium", reason="needs selenium, of the extra `test`")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:selenium.*"),
]
WIDE, NARROW = (1400, 900), (500, 900)
PIXELS = """
const canvas = document.querySelector(arguments[0]);
const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
copy.drawImage(canvas, 0, 0);
return Array.from(new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer));
"""
Found = TypeVar("Found")


class Page:
    """The page as an operator has it before him."""

    def __init__(self, driver: Any, served: Served, fragment: str = f"#token={TOKEN}") -> None:
        self.driver = driver
        driver.get("about:blank")
        driver.get_log("browser"), driver.get_log("performance")  # of pages before
        driver.get(f"http://{served.address}/{fragment}")

    def find(self, css: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def text(self, css: str) -> str:
        return str(self.find(css).text)

    def number(self, css: str) -> float:
        return number(self.text(css))

    def pixels(self, css: str) -> np.ndarray:
        """Colours of a canvas, by rows."""
        colours = np.array(self.driver.execute_script(PIXELS, css), np.uint32)
        return colours.reshape(int(self.find(css).get_property("height")), -1)

    def wait_for(self, what: Callable[[], Found], seconds: float = 8.0) -> Found:
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, (
                f"was never so; the page says {self.text('header')!r}, {self.text('#note')!r}"
            )
            time.sleep(0.02)
        return found

    def is_live(self) -> None:
        self.wait_for(lambda: self.text("#state").startswith("live"))


def number(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace("\u2009", "").replace("\u2212", "-").removesuffix(" µs"))


def signal(page: Page, name: str) -> float:
    """What the page shows as the last value of a signal."""
    for figure in page.driver.find_elements(By.CSS_SELECTOR, "#signals figure"):
        if figure.find_element(By.TAG_NAME, "span").get_attribute("title") == name:
            return number(figure.find_element(By.TAG_NAME, "output").text)
    raise AssertionError(name)


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """A browser without a screen."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-background-networking",
        "--force-device-scale-factor=1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    resize(driver, WIDE)
    yield driver
    driver.quit()


def resize(driver: Any, size: tuple[int, int]) -> None:
    """Make the window so large."""
    given = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", given)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Pretence, Served]]:
    """A loop that is none, which stands still but where a test lets it run, and its page."""
    with Pretence() as pretence, Served(pretence.board) as served:
        pretence.run(2000)
        yield pretence, served


@pytest.fixture
def pretence(shared: tuple[Pretence, Served]) -> Pretence:
    """The loop."""
    shared[0].said |= {"pause": 0.0, "learning": 1.0, "slope": 5.0}
    shared[0].hear()
    return shared[0]


@pytest.fixture
def served(shared: tuple[Pretence, Served]) -> Served:
    """The server of its page."""
    return shared[1]


# --- what it shows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_it_draws_and_the_pictures_move(driver: Any, pretence: Pretence, served: Served, size: tuple[int, int]) -> None:
    """In two columns and in one, nothing beyond the edge; asks nobody else for anything, and has no errors."""
    resize(driver, size)
    page = Page(driver, served)
    page.is_live()
    panels = [
        "#spikes > canvas", "#voltages > canvas", "#traces figure:nth-child(2) canvas",
        "#signals figure:nth-child(3) canvas", "#returns canvas", "#durations canvas",
    ]  # fmt: skip
    page.wait_for(lambda: page.find("#returns").is_displayed())
    before = [page.pixels(css) for css in panels]
    assert all(len(np.unique(picture)) >= 3 for picture in before)
    pretence.run(800)
    tick = int(pretence.board.counts[TICKS])
    page.wait_for(lambda: page.number("#tick") == tick)
    for css, picture in zip(panels, before, strict=True):
        page.wait_for(lambda css=css, picture=picture: not np.array_equal(page.pixels(css), picture))
    assert driver.execute_script("return document.documentElement.scrollWidth") <= size[0]
    left, right = (page.find(css).rect for css in ("#spikes", "#signals"))
    assert (right["x"] > left["x"]) == (size == WIDE) and (right["y"] > left["y"]) == (size == NARROW)
    logs = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [each["params"] for each in logs if each["method"].endswith(("requestWillBeSent", "webSocketCreated"))]
    asked = {urlsplit(each["request"]["url"] if "request" in each else each["url"]) for each in sent}
    assert {url.path for url in asked} >= {"/", "/page.js", "/page.css", "/live"}
    assert {url.netloc for url in asked} == {served.address}
    assert driver.get_log("browser") == []
    resize(driver, WIDE)


def test_signals_and_percentiles_are_those_of_the_board(driver: Any, pretence: Pretence, served: Served) -> None:
    """Each signal's last value, missed deadlines at the top, and quantiles as `Histogram` has them."""
    pretence.run(500)
    board = pretence.board
    page = Page(driver, served)
    page.is_live()
    last = board.samples[int(board.counts[1]) - 1]
    page.wait_for(lambda: page.text("#signals output"))
    for name, value in zip(PLAN.signals, last[1:], strict=True):
        assert signal(page, "slope [1/voltage]" if name == "slope" else name) == pytest.approx(value, rel=6e-3)
    assert page.number("#missed dd") == last[-1]
    assert page.text("#neurons") == "60 of 200 neurons" and page.text("#title") == PLAN.title
    page.wait_for(lambda: page.text("#durations td"))
    for k, row in enumerate(page.driver.find_elements(By.CSS_SELECTOR, "#durations tbody tr")):
        histogram = Histogram()
        histogram.counts, histogram.total = array("q", board.durations[k]), int(board.durations[k].sum())
        histogram.largest = int(board.largest[k])
        cells = [number(cell.text) for cell in row.find_elements(By.TAG_NAME, "td")]
        assert cells[:4] == pytest.approx(list(histogram.microseconds().values()), rel=6e-3)
        assert cells[4] == histogram.total


def test_pictures_are_the_right_way_up(driver: Any) -> None:
    """Neuron 0 at the bottom, the newest tick at the right; of a matrix row 0 at the top; what is no number is loud."""
    with Pretence() as pretence, Served(pretence.board) as served:
        board, n = pretence.board, PLAN.neurons
        board.ring[:] = 0.0
        board.ring[RING - 200 : RING - 100, 0] = 1.0
        board.ring[RING - 50 :, 2 * n - 1] = np.nan
        board.counts[TICKS] = RING
        rows, columns = PLAN.matrices["recurrent"]
        traces = board.maps[0, rows * 12 : rows * (12 + columns)].reshape(rows, columns)
        traces[:20, columns - 20 :] = 1.0
        board.counts[SWEPT] = 1
        page = Page(driver, served)
        page.is_live()
        page.wait_for(lambda: page.text("#traces figure:nth-child(2) output") == "±1")
        spikes, tall = page.pixels("#spikes > canvas"), 180
        dark = (spikes[:tall, 45:] >> 24 == 255) & ((spikes[:tall, 45:] & 255) < 60)
        found = np.argwhere(dark)
        assert 50 <= np.ptp(found[:, 1]) + 1 <= 110  # a hundred ticks
        assert found[:, 0].min() == tall - 3 and spikes.shape[1] - 45 - found[:, 1].max() in range(45, 115)
        voltages = page.pixels("#voltages > canvas")[:tall, 45:]
        magenta = np.argwhere(((voltages & 255) > 150) & ((voltages >> 8 & 255) < 100) & ((voltages >> 16 & 255) > 150))
        assert magenta[:, 0].max() == 2 and magenta[:, 1].max() >= voltages.shape[1] - 10
        move = webdriver.ActionChains(driver).move_to_element_with_offset
        move(page.find("#voltages > canvas"), 100, 0).perform()
        assert page.text("#voltages .hover").startswith("neuron 2") and page.text("#voltages .hover").endswith(": 0.00")
        map_ = page.find("#traces figure:nth-child(2) canvas")
        move(map_, 2, 1).perform()
        assert page.text("#traces .hover") == "recurrent, 30 → 30: 0"
        move(map_, int(map_.rect["width"] / 2) - 1, 3 - int(map_.rect["height"] / 2)).perform()
        assert page.text("#traces .hover") == "recurrent, 59 → 1: ≥ 1"
        picture = page.pixels("#traces figure:nth-child(2) canvas")
        colours, counts = np.unique(picture, return_counts=True)
        assert len(colours) == 2
        coloured = np.argwhere(picture == colours[np.argmin(counts)])
        assert coloured.min(axis=0).tolist() == pytest.approx([0, picture.shape[1] * 2 / 3], abs=2)
        assert coloured.max(axis=0).tolist() == pytest.approx([picture.shape[0] / 3, picture.shape[1] - 1], abs=2)


def test_weights_compared_from_now(driver: Any, pretence: Pretence, served: Served) -> None:
    """All are as they are now, until they change again."""
    pretence.run(3000)
    page = Page(driver, served)
    page.is_live()
    css = "#change figure:nth-child(2) canvas"
    page.wait_for(lambda: len(np.unique(page.pixels(css))) > 10)
    page.find("#compare").click()
    page.wait_for(lambda: len(np.unique(page.pixels(css))) == 1)
    pretence.run(100)
    page.wait_for(lambda: len(np.unique(page.pixels(css))) > 10)


def test_light_and_dark(driver: Any, pretence: Pretence, served: Served) -> None:
    """As the system has it, and at once when that changes."""
    page = Page(driver, served)
    page.is_live()
    brightness = []
    for scheme in ("light", "dark"):
        given = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", given)
        time.sleep(0.3)
        picture = page.pixels("#voltages > canvas")[:100, 60:]
        brightness.append(np.mean((picture >> 8) & 255))
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert brightness[0] > brightness[1] + 30


# --- what it asks for ------------------------------------------------------------------------------------------------


def test_controls_ask_and_show_what_is_so(driver: Any, pretence: Pretence, served: Served) -> None:
    """A click is a request on the board; the page shows the new state only when the loop has it."""
    page = Page(driver, served)
    page.is_live()

    def heard() -> list[tuple[str, float]]:
        page.wait_for(lambda: int(pretence.board.bell[0]) >> 1 > pretence.heard)
        return pretence.hear()

    def click(css: str) -> list[tuple[str, float]]:
        page.wait_for(lambda: page.find(css).is_enabled())
        page.find(css).click()
        return heard()

    assert click("#pause") == [("pause", 1.0)]
    page.wait_for(lambda: page.text("#state") == "paused" and page.text("#pause") == "Go on")
    assert click("#pause") == [("pause", 0.0)]
    page.is_live()
    assert page.text("#learning") == "Learning: on"
    assert click("#learning") == [("learning", 0.0)]
    page.wait_for(lambda: page.text("#learning") == "Learning: off" and page.text("#state") == "live, learning off")
    assert click("#save") == [("save", 1.0)]
    page.wait_for(lambda: page.text("#saved") == "saved once" and page.text("#said").startswith("saved to"))

    field = page.find("#slope-number")
    assert float(field.get_property("value")) == 5.0
    field.send_keys(Keys.CONTROL + "a", Keys.NULL, "12.5", Keys.ENTER)
    assert heard() == [("slope", 12.5)]
    page.wait_for(lambda: page.find("#slope").get_attribute("aria-valuetext") == "12.5 per voltage")
    page.find("#slope").send_keys(Keys.ARROW_RIGHT * 3)
    ((control, value),) = heard()
    assert control == "slope" and 12.5 < value < 13.0
    field.send_keys(Keys.CONTROL + "a", Keys.NULL, "-1", Keys.ENTER)
    page.wait_for(lambda: "must be positive" in page.text("#note"))
    field.send_keys(Keys.TAB)  # it has the focus no more
    page.wait_for(lambda: float(field.get_property("value")) == value)
    assert pretence.hear() == []


def test_the_token(driver: Any, pretence: Pretence, served: Served) -> None:
    """Taken out of the address, kept for a reload; without it or with a wrong one one can look, and do nothing."""
    page = Page(driver, served, "#token=wrong")
    page.is_live()
    ids = ["pause", "learning", "slope", "slope-number", "save"]
    page.wait_for(lambda: "token of this page is wrong" in page.text("#note"))
    assert not any(page.find(f"#{each}").is_enabled() for each in ids)
    before = int(pretence.board.bell[0])
    driver.execute_script("document.querySelectorAll('[disabled]').forEach((each) => (each.disabled = false))")
    page.find("#pause").click()
    page.wait_for(lambda: "pause: this token is wrong" in page.text("#note"))
    assert int(pretence.board.bell[0]) >> 1 == before >> 1 and page.text("#pause") == "Pause"

    driver.execute_script("location.hash = arguments[0]", f"token={TOKEN}")
    page.wait_for(lambda: page.find("#pause").is_enabled() and page.text("#note") == "")
    assert driver.current_url == f"http://{served.address}/"
    driver.refresh()
    page.wait_for(lambda: all(page.find(f"#{each}").is_enabled() for each in ids))

    driver.execute_script("sessionStorage.clear()")
    driver.refresh()
    page.is_live()
    assert "open the address that it printed" in page.text("#note")
    assert not any(page.find(f"#{each}").is_enabled() for each in ids)


def test_the_keyboard_reaches_every_control(driver: Any, pretence: Pretence, served: Served) -> None:
    """In the order in which they stand; each has a name for those who do not see it."""
    page = Page(driver, served)
    page.wait_for(lambda: page.find("#pause").is_enabled())
    found = []
    for _ in range(8):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        found.append(driver.switch_to.active_element.get_attribute("id"))
    assert found[:7] == ["pause", "learning", "slope", "slope-number", "save", "span", "compare"]
    assert all(page.find(f"#{each}").accessible_name for each in found[:7])
    assert all(canvas.accessible_name for canvas in driver.find_elements(By.CSS_SELECTOR, "canvas[role=img]"))


# --- what it costs, and its end --------------------------------------------------------------------------------------


def test_a_hidden_page_is_not_ready(driver: Any, pretence: Pretence, served: Served) -> None:
    """While another tab is shown nobody looks."""
    page, bell = Page(driver, served), pretence.board.bell
    page.wait_for(lambda: bell[0] & 1)
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    page.driver.get("about:blank")
    end = time.monotonic() + 5.0
    while bell[0] & 1:
        assert time.monotonic() < end
        time.sleep(0.02)
    driver.close()
    driver.switch_to.window(first)
    page.wait_for(lambda: bell[0] & 1)
    page.is_live()


def test_what_is_lost_and_what_has_ended(driver: Any) -> None:
    """A connection that is lost is tried again; a loop that has ended is said to have."""
    with Pretence() as pretence:
        pretence.start()
        with Served(pretence.board) as served:
            page = Page(driver, served)
            page.is_live()
            port = served.port
            served.process.kill()
            page.wait_for(lambda: page.text("#state") == "connection lost, trying again")
            assert not page.find("#pause").is_enabled()
        with Served(pretence.board, port=port) as served:
            page.is_live()
            page.wait_for(lambda: page.find("#pause").is_enabled())
            served.end()
            page.wait_for(lambda: page.text("#state") == "the loop has ended")
            assert not page.find("#pause").is_enabled()
            time.sleep(2.5)  # tried once more
            assert page.text("#state") == "the loop has ended"


def test_a_loop_that_stands_still_is_noticed(driver: Any, pretence: Pretence, served: Served) -> None:
    """Without being paused."""
    page = Page(driver, served)
    page.is_live()
    page.wait_for(lambda: page.text("#state") == "the loop stands still")
    pretence.run(1)
    page.is_live()
