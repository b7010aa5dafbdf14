"""Models beside rules without a model, as the page and its command show them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from octoscope.link_prediction.evaluate_links import Evaluation, Settings, evaluate_links
from octoscope.link_prediction.evaluation_files import read_evaluation, write_evaluation
from octoscope.link_prediction.splits import split_links
from octoscope.report.links_page import links_page
from octoscope.report.rows import figure
from playwright.sync_api import Page

from tests.here import here
from tests.link_prediction.conftest import links_from
from tests.report.readable import check_readable

N = 600


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Two communities: a model that knows them, one that knows nothing, one that is always wrong.

    Rules without a model see little of the communities: there are few edges.
    """
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, N, (2, 9000))
    keep = (a < b) & ((a % 2) == (b % 2))
    pairs = np.unique(np.stack([a[keep], b[keep]]), axis=1)
    sign = np.where(rng.random(pairs.shape[1]) < 0.8, 1, -1)
    links = links_from(N, *pairs, sign=sign)

    def known(src: np.ndarray, dst: np.ndarray, _: np.ndarray) -> np.ndarray:
        return ((src % 2) == (dst % 2)) + np.random.default_rng(0).random(len(src)) / 10

    models = {
        "knows <b>": known,
        "random": lambda src, dst, _: np.random.default_rng(1).random(len(src)),
        "wrong": lambda src, dst, _: -known(src, dst, _),
    }
    settings = Settings(
        ("degree", "uniform"), ("mirror", "common_neighbours", "stacked"), queries=50
    )
    return evaluate_links(links, split_links(links), settings=settings, models=models)


def test_each_model_is_held_against_the_best_rule(evaluation: Evaluation) -> None:
    """Red: a gain whose interval holds 0 taken for one."""
    text = links_page([("a", evaluation)]).decode()
    for start, verdict in (
        ("knows &lt;b&gt; reaches", "it beats every rule without a model, "),
        ("wrong reaches", "it does not reach the best rule without a model, "),
    ):
        assert verdict in text[text.index(start) :].partition("</p>")[0]
    assert "<b>" not in text.replace("<b>Asked.</b>", "")


def test_a_model_as_good_as_a_rule_cannot_be_told_from_it(evaluation: Evaluation) -> None:
    metrics = evaluation.metrics.copy()
    random = metrics["scorer"] == "random"
    metrics.loc[random, ["gain", "gain_low", "gain_high"]] = [0.01, -0.02, 0.04]
    text = links_page([("a", replace(evaluation, metrics=metrics))]).decode()
    assert "it cannot be told from the best rule, " in text
    floors = metrics[metrics["kind"] == "floor"]
    alone = links_page([("a", replace(evaluation, metrics=floors))]).decode()
    best = floors.query("metric == 'auc' and stratum == 'all' and negatives == 'degree'")
    best = best.sort_values("value").iloc[-1]["scorer"]
    assert f"No model was evaluated. The best rule without one is {best}" in alone


def test_signs_of_a_model_are_held_against_the_best_rule(evaluation: Evaluation) -> None:
    """Red: a gain over the rates alone, where trees on signed paths reach more."""
    signs = evaluation.signs
    assert "stacked_signs" in set(signs["scorer"])
    assert "On signs" not in links_page([("a", evaluation)]).decode()  # no model has signs
    floors = signs[(signs["split"] == "as asked") & (signs["metric"] == "auc")]
    model = floors.iloc[0].to_dict() | {
        "scorer": "network", "kind": "model", "best_floor": "stacked_signs", "gain": -0.1,
        "gain_low": -0.12, "gain_high": -0.08,
    }  # fmt: skip
    more = replace(evaluation, signs=pd.concat([signs, pd.DataFrame([model])]))
    text = links_page([("a", more)]).decode()
    verdict = "it does not reach the best rule without a model, stacked_signs (difference "
    assert verdict in text[text.index("On signs network reaches") :].partition("</p>")[0]


def test_the_page_in_a_browser(page: Page, evaluation: Evaluation, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_evaluation(evaluation, tmp_path / name)
    completed = here("gnn", "report", str(tmp_path / "one"), str(tmp_path / "two"), "--out",
                str(tmp_path / "page.html"))  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    messages: list[str] = []
    page.on("console", lambda m: messages.append(m.text))
    page.on("pageerror", lambda e: messages.append(str(e)))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("figure.areas svg").count() == 2
    page.locator("#all-1").scroll_into_view_if_needed()
    page.wait_for_selector("#all-1 thead .dt-column-order", state="attached")
    assert messages == []
    rows = evaluation.metrics[evaluation.metrics["stratum"] == "all"]
    assert page.locator("#all-1 tbody tr").count() == min(len(rows), 25)
    model = page.locator("#all-1 tbody tr", has_text="knows <b>").first.inner_text().split("\t")
    row = rows[rows["scorer"] == "knows <b>"].iloc[0]
    assert model[1:4] == ["model", row["negatives"], row["metric"]]
    assert page.locator("#signs-1 tbody tr").count() == min(len(evaluation.signs), 25)
    assert page.locator("figure.reliability svg").count() == 2
    assert page.locator("#calibration-1 tbody tr").count() == len(evaluation.calibration) == 3
    slope = evaluation.calibration.set_index("scorer").loc["knows <b>", "slope"]
    shown = page.locator("#calibration-1 tbody tr", has_text="knows <b>").inner_text()
    assert f"{figure(slope)} (" in shown
    check_readable(page)


def test_what_is_no_evaluation_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation(evaluation, tmp_path / "sound")
    again = read_evaluation(tmp_path / "sound")
    for name in ("metrics", "calibration", "reliability"):
        one, two = getattr(again, name), getattr(evaluation, name)
        pd.testing.assert_frame_equal(one, two, check_dtype=False)
    assert again.about["split"] == evaluation.about["split"]
    page = str(tmp_path / "page.html")

    def refused(change: str, what: str) -> None:
        done = here("gnn", "report", str(tmp_path / change), "--out", page)
        assert done.returncode == 2
        assert what in done.stderr
        assert "Fix: evaluate again" in done.stderr
        assert not Path(page).exists()

    (tmp_path / "none").mkdir()
    refused("none", "no evaluation.json")
    about = json.loads((tmp_path / "sound/evaluation.json").read_text())
    for name, changed, what in (
        ("other", about | {"format": "x/1"}, "'x/1' is not octoscope-link-evaluation/2"),
        ("less", {k: v for k, v in about.items() if k != "leak"}, "leak missing"),
    ):
        write_evaluation(evaluation, tmp_path / name)
        (tmp_path / name / "evaluation.json").write_text(json.dumps(changed))
        refused(name, what)
    write_evaluation(evaluation, tmp_path / "cut")
    (tmp_path / "cut/metrics.parquet").write_bytes(b"PAR1")
    refused("cut", "metrics.parquet")
    write_evaluation(evaluation, tmp_path / "columns")
    evaluation.metrics.drop(columns="gain").to_parquet(tmp_path / "columns/metrics.parquet")
    refused("columns", "no column gain")
