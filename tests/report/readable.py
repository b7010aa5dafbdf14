"""Whether a page can be read on a phone, on paper, and by those who do not see it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# what is wider than the page may scroll within itself; on paper nothing scrolls
FAULTS = """([width, paper]) => {
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const box = e.getBoundingClientRect();
    if (!box.width || !e.checkVisibility()) continue;
    const within = !paper && e.closest(".scroll, .dt-layout-table") && !e.closest("table.wide");
    if (box.right > width + 1 && !within && !e.closest("thead, datalist")) {
      found.push(`${e.tagName} ${e.id} ${e.className} ends at ${box.right}`);
    }
    const text = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const svg = e.ownerSVGElement;
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const size = parseFloat(getComputedStyle(e).fontSize) * scale;
    if (text && e.tagName !== "title" && size < 9) {
      found.push(`${e.tagName} ${e.textContent.slice(0, 30)} of ${size} px`);
    }
  }
  return found.slice(0, 10);
}"""


def check_readable(page: Page) -> None:
    """Assert that the page loses nothing on a phone or on paper, and that axe finds nothing."""
    media: Any
    try:
        for media, width in (("screen", 390), ("print", 718)):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(media=media)
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
            assert page.evaluate(FAULTS, [width, media == "print"]) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        scheme: Any
        page.set_viewport_size({"width": 1200, "height": 900})
        for scheme in ("dark", "light"):
            page.emulate_media(media="screen", color_scheme=scheme)
            result = Axe().run(page)
            assert result.violations_count == 0, result.generate_report()
    finally:
        page.emulate_media(media="screen", color_scheme="light")
        page.set_viewport_size({"width": 1200, "height": 900})
