"""The web page in a real browser: a photo, its mask, the slider, the views, a wrong file; nothing from other hosts.

``QMANET_PICTURES=docs/pictures python -m pytest tests/apps/test_web_browser.py`` saves the pictures of the docs.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browsers import chromium

pytest.importorskip("gradio", reason="needs the extra [app]")

from qmanet_benco import load_model
from qmanet_benco.apps.predict import resolved
from qmanet_benco.apps.web.server import Server, serving

SECONDS = 60.0
PICTURE_BYTES = 200_000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(load_model("demo"), demo=True) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium("window-size=1000,1300", performance="ALL", browser="ALL") as opened:
        yield opened


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of scikit-image with a piece of it copied to another place."""
    from skimage import data

    pixels = data.coffee().copy()
    pixels[250:340, 60:150] = pixels[120:210, 330:420]
    path = tmp_path_factory.mktemp("photos") / "coffee <b>.jpg"
    Image.fromarray(pixels).save(path, quality=92)
    return path


class Page:
    """The open page."""

    def __init__(self, browser: object, url: str) -> None:
        self.browser = browser
        browser.get(url)
        self.until(lambda: self.all("#photo input[type=file]"), "the place for a photo")

    def all(self, selector: str) -> list[object]:
        return self.browser.find_elements("css selector", selector)

    def until(self, condition: Callable[[], object], what: str) -> object:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no sign of {what} in {SECONDS} s")

    def send(self, path: Path) -> None:
        self.until(lambda: self.all("#photo input[type=file]"), "the place for a photo")
        self.all("#photo input[type=file]")[0].send_keys(str(path))

    def shown(self, part: str) -> str:
        """Address of a picture that the page shows, once it is there."""
        script = f"const i = document.querySelector('#{part} img'); return i && i.naturalWidth ? i.src : ''"
        return str(self.until(lambda: self.browser.execute_script(script), part))

    def changed(self, part: str, former: str) -> str:
        self.until(lambda: self.shown(part) != former, f"another {part}")
        return self.shown(part)

    def picture(self, part: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.fetch(self.shown(part)))))

    def slide(self, value: float) -> None:
        """Move the slider with the keyboard's events, as a person does."""
        slider = self.all("#slider input[type=range]")[0]
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        self.browser.execute_script(script, slider, value)

    def view(self, name: str) -> None:
        tabs = self.browser.find_elements("xpath", f"//button[@role='tab'][normalize-space()='{name}']")
        next(each for each in tabs if each.is_displayed()).click()

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def fetch(self, href: str) -> bytes:
        """A file, as this browser gets it."""
        script = (
            "const done = arguments[1]; fetch(arguments[0]).then(r => r.arrayBuffer())"
            ".then(b => done([...new Uint8Array(b)]))"
        )
        return bytes(self.browser.execute_async_script(script, href))


def test_a_photo_is_analysed_and_the_slider_marks_more(
    server: Server, browser: object, photo: Path, tmp_path: Path
) -> None:
    page = Page(browser, server.url)
    assert "demonstration model" in browser.find_element("tag name", "body").text
    browser.save_screenshot(str(tmp_path / "empty.png"))
    page.send(photo)
    first = page.shown("overlay")
    assert page.picture("overlay").shape == (400, 600, 3)
    words = page.all("#words")[0].text
    assert " found" in words.splitlines()[0]
    assert "600 x 400 pixels" in words
    browser.save_screenshot(str(tmp_path / "overlay.png"))
    page.slide(0.2)
    assert page.changed("overlay", first).endswith("overlay-0.20.jpg")
    page.view("Mask")
    mask = page.picture("mask")
    browser.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.all("#mask_file")[0].click()
    saved = tmp_path / "coffee b.mask.png"
    page.until(saved.is_file, "the download")
    assert (np.asarray(Image.open(saved)) == mask).all()
    page.until(lambda: f"{(mask > 0).mean():.1%}" in page.all("#words")[0].text, "the marked part in words")
    page.view("Noise view")
    assert page.picture("noise").shape[0] == page.picture("noise").shape[1]
    browser.save_screenshot(str(tmp_path / "noise.png"))


INTERACTIVE = ("button", "slider", "spinbutton", "tab", "textbox", "checkbox", "link")
NARROW, WIDE = 390, 1000


def show_as(browser: object, width: int, scheme: str, height: int = 1300) -> None:
    """The window's width in CSS pixels, and the scheme that the person's system asks for."""
    size = dict(width=width, height=height, deviceScaleFactor=1, mobile=width == NARROW)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [dict(name="prefers-color-scheme", value=scheme)]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dict(features=features))


@pytest.fixture
def window(browser: object) -> Iterator[Callable[..., None]]:
    yield lambda *as_what: show_as(browser, *as_what)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dict(features=[]))


def brightness(browser: object, selector: str) -> float:
    """Brightness of an element's background, 0 to 255."""
    script = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor.match(/[0-9.]+/g)"
    return float(np.mean([float(part) for part in browser.execute_script(script, selector)[:3]]))


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark")])
def test_a_click_on_the_example_shows_an_answer_in_every_window(
    server: Server, browser: object, window: Callable[..., None], tmp_path: Path, width: int, scheme: str
) -> None:
    window(width, scheme)
    page = Page(browser, server.url)
    page.until(lambda: [each for each in page.all("#example") if each.is_displayed()], "the example")
    page.all("#example")[0].click()
    page.shown("overlay")
    assert " found" in page.all("#words")[0].text.splitlines()[0]
    assert f"the model's own: {resolved(load_model('demo'), None, 0, None).threshold:.2f}" in page.all("#own")[0].text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert (brightness(browser, "body") < 60) == (scheme == "dark")
    time.sleep(0.5)  # Gradio fades things in
    browser.save_screenshot(str(tmp_path / "page.png"))
    if width == WIDE:
        _save_picture(tmp_path / "page.png", f"app_{scheme}")


def test_a_screen_reader_finds_a_name_on_everything_and_hears_the_answer(server: Server, browser: object) -> None:
    page = Page(browser, server.url)
    page.until(lambda: page.all("#example"), "the example")
    page.all("#example")[0].click()
    page.shown("overlay")
    page.until(lambda: page.all("#words[role=status][aria-live=polite]"), "the role of the answer")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    assert [role for role, name in named if role in INTERACTIVE and not name.strip()] == []
    assert ("image", "The photo with the marked parts in red") in named
    assert len([role for role, _ in named if role in INTERACTIVE]) > 8


def test_the_explanation_is_shown_when_it_is_asked_for(
    server: Server, browser: object, photo: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_grad_cam", reason="needs the extra [explain]")
    page = Page(browser, server.url)
    page.send(photo)
    page.shown("overlay")
    assert page.all("#panels img") == []
    headings = browser.find_elements("xpath", "//button[contains(., 'what the network looked at')]")
    next(each for each in headings if each.is_displayed()).click()
    page.until(lambda: [each for each in page.all("#explain") if each.is_displayed()], "the button")
    page.all("#explain")[0].click()
    page.until(lambda: page.all("#panels img"), "the panels")
    whole = "return [...document.querySelectorAll('#panels img')].every(i => i.complete && i.naturalWidth > 100)"
    page.until(lambda: browser.execute_script(whole), "every panel's pixels")
    named = [each.text for each in page.all("#panels .caption-label")]
    assert len(named) == len(page.all("#panels img")) >= 12
    assert len(set(named)) == len(named)
    browser.execute_script("document.querySelector('#panels').scrollIntoView()")
    browser.save_screenshot(str(tmp_path / "explanation.png"))
    _save_picture(tmp_path / "explanation.png", "app_explanation")


def test_a_wrong_file_is_one_line_and_the_next_photo_works(
    server: Server, browser: object, photo: Path, tmp_path: Path
) -> None:
    page = Page(browser, server.url)
    wrong = tmp_path / "wrong.jpg"
    wrong.write_text("<svg onload=\"document.title='caught'\">")
    page.send(wrong)
    page.until(lambda: page.all(".qmanet-error"), "the message")
    message = page.all(".qmanet-error")[0].text
    assert message == "This file is not a photo; expected JPEG, HEIC, PNG, TIFF, WebP, BMP or GIF"
    assert not any(each.is_displayed() for each in page.all("#answer"))
    browser.save_screenshot(str(tmp_path / "wrong.png"))
    page.send(photo)
    page.shown("overlay")
    page.until(lambda: not any(each.is_displayed() for each in page.all(".qmanet-error")), "the message's end")
    assert browser.title != "caught"


def test_the_page_asks_no_other_host_and_breaks_no_rule_of_its_own(
    server: Server, browser: object, photo: Path
) -> None:
    browser.get_log("performance")
    browser.get_log("browser")
    page = Page(browser, server.url)
    page.send(photo)
    page.shown("overlay")
    asked = page.requests()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_closing_the_page_removes_the_photo(server: Server, browser: object, photo: Path) -> None:
    page = Page(browser, server.url)
    page.send(photo)
    page.shown("overlay")
    assert len([path for path in server.folder.rglob("*") if path.is_file()]) > 4
    browser.get("about:blank")
    page.until(lambda: not [path for path in server.folder.rglob("*") if path.is_file()], "the removal")


def _save_picture(screenshot: Path, name: str = "app") -> None:
    """For the documentation: a smaller copy in few colours, into the folder that QMANET_PICTURES names."""
    folder = os.environ.get("QMANET_PICTURES")
    if not folder:
        return
    target = Path(folder) / f"{name}.png"
    picture = Image.open(screenshot).convert("RGB")
    for colours in (256, 128, 64):
        picture.resize((picture.width * 4 // 5, picture.height * 4 // 5)).quantize(colours).save(target, optimize=True)
        if target.stat().st_size <= PICTURE_BYTES:
            return
