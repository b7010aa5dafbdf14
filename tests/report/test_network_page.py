"""The page of a network in a real headless Chromium."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from octoscope.octopus.napistu.import_network import import_napistu
from octoscope.octopus.network import open_network
from octoscope.octopus.network_schema import NOT_KNOWN
from octoscope.octopus.network_views import INDEPENDENT, view
from octoscope.report.network_page import network_page
from octoscope.report.page import _network_text
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from playwright.sync_api import Page

from tests.octopus.conftest import BUNDLE
from tests.report.readable import check_readable


def test_sources_corrections_and_figures_are_shown(page: Page, tmp_path: Path) -> None:
    import_napistu(BUNDLE, tmp_path / "net")
    network = open_network(tmp_path / "net")
    unkind = "<script>window.hacked=1</script>"
    network = replace(network, meta=network.meta | {"name": unkind})
    file = tmp_path / "network.html"
    file.write_bytes(network_page(network))
    logged: list[str] = []
    page.on("console", lambda m: logged.append(m.text))
    page.on("pageerror", lambda e: logged.append(str(e)))
    page.goto(file.as_uri())
    assert page.locator("h1").inner_text() == unkind
    assert page.evaluate("window.hacked") is None
    rows = page.locator("#sources tbody tr")
    assert rows.count() == len(network.sources) == 6
    assert page.locator("figure svg").count() == 3
    ticks = page.locator("figure svg").first.locator("text").all_text_contents()
    assert {"0", "10", "100"} <= set(ticks)  # red: marks of mathematics, which is switched off
    corrected = page.locator("#corrections").inner_text()
    assert "333" in corrected
    assert "200" in corrected
    n_pairs = len(view(network, INDEPENDENT).pair_keys)
    assert f"{n_pairs:,} of {len(network.pair_keys):,}" in page.locator("#limits").inner_text()
    assert page.locator("#peer").count() == 0
    assert not logged
    check_readable(page)


def test_what_is_not_known_of_the_independent_view_is_said() -> None:
    text = network_page(open_network("demo")).decode()
    assert "pairs remain; what OmniPath rests on is not known." in text


def test_the_report_of_a_run_names_sources_that_are_not_known() -> None:
    plan = load_plan(RunRoot(Path(__file__).parents[1] / "data/stores/plan-3b"))
    assert plan.network is not None
    plain = _network_text(plan)
    noted = plan.model_copy(update={"network": plan.network | {NOT_KNOWN: ["OmniPath", "mine"]}})
    assert _network_text(noted) == f"{plain}; not known to be independent: OmniPath, mine"


def test_peer_mode_says_so(page: Page, tmp_path: Path) -> None:
    import_napistu(BUNDLE, tmp_path / "net", "peer")
    file = tmp_path / "network.html"
    file.write_bytes(network_page(open_network(tmp_path / "net")))
    page.goto(file.as_uri())
    assert "defects" in page.locator("#peer").inner_text()
    assert page.locator("#corrections").count() == 0
