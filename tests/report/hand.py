"""A reader's hand on a page: clicks, keys and turns of the wheel, counted from the first screen."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

# What a reader takes who sees the page for the first time, in seconds: to find and click what is on
# the screen, to press a key, and to look over a screen.
CLICK, KEY, SCREEN = 3.0, 0.5, 6.0
WHEEL = 800  # pixels of a turn: a window of 900 less a few lines to find one's place again

SEEN = """e => {
  const box = e.getBoundingClientRect();
  return e.checkVisibility() && box.width > 0 && box.top >= -1 && box.bottom <= innerHeight + 1;
}"""
BELOW = "e => e.getBoundingClientRect().bottom - innerHeight"  # pixels that are not seen


class Hand:
    """Uses only what is on the screen; the first screen is looked over already."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = self.keys = 0
        self.screens = 1

    def sees(self, target: Locator) -> bool:
        """Tell whether the whole of an element is on the screen."""
        return bool(target.evaluate(SEEN))

    def click(self, target: Locator) -> None:
        """Click what is on the screen; where that leads is another screen to look over."""
        assert self.sees(target), f"{target} is not on the screen"
        target.click()
        self.clicks += 1
        self.screens += 1

    def write(self, target: Locator, text: str) -> None:
        """Click a field on the screen, write into it and press Enter."""
        assert self.sees(target), f"{target} is not on the screen"
        target.click()
        target.press_sequentially(text)
        target.press("Enter")
        self.clicks += 1
        self.keys += len(text) + 1

    def scroll_to(self, target: Locator) -> None:
        """Turn the wheel until the whole of an element further down is on the screen."""
        self.page.mouse.move(1190, 450)
        while (below := target.evaluate(BELOW)) > 0:
            at = self.page.evaluate("scrollY")
            self.page.mouse.wheel(0, min(WHEEL, below + 20))
            self.page.wait_for_function("at => scrollY > at", arg=at)
            self.screens += 1
        assert self.sees(target), f"{target} is not on the screen"

    def takes(self) -> float:
        """Return the seconds of a reader's time until now."""
        return CLICK * self.clicks + KEY * self.keys + SCREEN * self.screens
