"""A real headless Chromium, and a run of the demonstration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import octoscope, once


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    binary = next(filter(None, (shutil.which(n) for n in names)), None)
    assert binary, "install Chromium from your system's packages"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=binary, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    return browser.new_page(viewport={"width": 1200, "height": 900})


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the demonstration: that of ``OCTOSCOPE_DEMO_RUN``, as CI has one, or a new one."""
    if earlier := os.environ.get("OCTOSCOPE_DEMO_RUN"):
        return Path(earlier)

    def make(folder: Path) -> None:
        done = octoscope("demo", "--out", str(folder / "run"), timeout=1000)
        assert done.returncode == 0, done.stdout + done.stderr

    return once(tmp_path_factory, "demonstration", make) / "run"
