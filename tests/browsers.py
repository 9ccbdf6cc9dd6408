"""Debian's chromium without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-background-networking",
    "disable-sync",
    "disable-component-update",
)


@contextmanager
def chromium(*flags: str, **logs: str) -> Iterator[Any]:
    """Selenium's driver of a browser; the test skips where none is installed.

    Args:
        flags: of the browser, beside :data:`FLAGS`.
        logs: what it writes down, such as ``performance="ALL"``.
    """
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs Debian's chromium and chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, *flags):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", logs)
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()
