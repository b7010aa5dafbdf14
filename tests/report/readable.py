"""What every page must be: readable on a phone and on paper, and accessible in light and dark."""

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


def readable(page: Page) -> None:
    """Require of an open page: nothing beyond the edge, no text under 9 px, no finding of axe."""
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    sizes: list[tuple[Any, int]] = [("screen", 390), ("print", 718)]
    for media, width in sizes:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(media=media)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, media
        assert page.evaluate(FAULTS, [width, media == "print"]) == [], media
    page.set_viewport_size({"width": 1200, "height": 900})
    schemes: list[Any] = ["light", "dark"]
    for scheme in schemes:
        page.emulate_media(media="screen", color_scheme=scheme)
        result = Axe().run(page)
        assert result.violations_count == 0, result.generate_report()
    page.emulate_media(media="screen", color_scheme="light")
