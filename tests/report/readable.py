"""What is beyond the edge of a page or too small to read, on a phone and on paper."""

from __future__ import annotations

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
