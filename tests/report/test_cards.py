"""Each card of the first screen: its sentences against numbers counted in the files of the run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from octoscope.analysis.controlled.verdict_names import (
    BEYOND,
    CANNOT_TELL,
    NO_MORE,
    NOT_ENRICHED,
)
from octoscope.report.rows import count, figure, interval, p_text, percent
from octoscope.run_plan.values import COEXPRESSION, ModelPlan, Plan
from octoscope.store.plan_file import load_plan
from octoscope.store.run_dir import RunRoot
from playwright.sync_api import Page

from tests.report.test_browser import opened


def card_of(run: Path, plan: Plan, m: ModelPlan) -> dict[str, str]:
    """Return what the card of a model must say, from ``tables/*.parquet`` alone."""
    names = {"model": m.name, "gene_set": next(iter(m.gene_sets)), "view": m.views[0]}
    mine = "model == @model and gene_set == @gene_set and view == @view"

    def of(name: str, query: str = mine) -> pd.DataFrame:
        file = run / f"tables/{name}.parquet"
        if not file.exists():
            return pd.DataFrame()
        return pd.read_parquet(file).query(query, local_dict=names)

    matrices = len(m.layers) * len(plan.categories)
    overlap = of("overlap").dropna(subset=["fold_over_null"])
    best = overlap.sort_values(["q", "fold_over_null"], ascending=[True, False]).iloc[0]
    edges = f"none of its {best['n_pairs']} strongest pairs is a network edge"
    if best["n_edges"]:
        edges = (
            f"{best['n_edges']} of its {best['n_pairs']} strongest pairs are network edges "
            f"({percent(best['edge_rate'])}; 95 % interval "
            f"{interval(best, 'low', 'high', percent)})"
        )
    card = {
        "Strongest layer": f"Layer {best['layer']} in {best['category']}: {edges}. The null "
        f"expects {percent(best['null_mean'])} ({percent(best['null_low'])} to "
        f"{percent(best['null_high'])}), so it is {figure(best['fold_over_null'])} times the null, "
        f"q {p_text(best['q'])}. It is the strongest of {len(overlap)} matrices by q, then by this "
        f"ratio; q is below 0.05 in {(overlap['q'] < 0.05).sum()}."
    }
    if m.family != COEXPRESSION:
        verdicts = of("verdicts", "model == @model")
        if len(verdicts):
            n = verdicts["verdict"].value_counts()
            assert len(verdicts) == len(verdicts.groupby(["category", "layer"])) == matrices
            beyond, no_more, not_enriched, cannot = (
                int(n.get(v, 0)) for v in (BEYOND, NO_MORE, NOT_ENRICHED, CANNOT_TELL)
            )
            card["After co-expression"] = (
                f"Of {matrices} matrices (one for each layer and category) {beyond} beyond "
                f"co-expression, {no_more} no more than it, {not_enriched} not enriched, {cannot} "
                "cannot be told. Clearest: "
            )
        else:
            card["After co-expression"] = "Cannot tell: "
    agreed = of(
        "agreement",
        "query_model == @model and eval_model != @model and comparison == 'models' and "
        "gene_set == @gene_set and view == @view and k == k.max()",
    ).dropna(subset=["median_quantile"])
    if len(agreed):
        closest = agreed.groupby("eval_model")["median_quantile"].median().idxmin()
        pairs = agreed[agreed["eval_model"] == closest]
        top = pairs.loc[pairs["median_quantile"].idxmin()]
        card["Other models"] = (
            f"Closest is {closest}: the {count(top['k'])} strongest pairs have there a median "
            f"quantile of {figure(pairs['median_quantile'].median())} over {len(pairs)} "
            f"comparisons ({figure(pairs['median_quantile'].min())} to "
            f"{figure(pairs['median_quantile'].max())}), the null "
            f"{figure(pairs['null_median'].median())}; q is below 0.05 in "
            f"{(pairs['q'] < 0.05).sum()}. Best: layer {top['query_layer']} in layer "
            f"{top['eval_layer']}, {top['category']}, {top['n_pairs']} pairs: "
            f"{figure(top['median_quantile'])} (95 % interval {interval(top, 'low', 'high')}; null "
            f"{figure(top['null_low'])} to {figure(top['null_high'])}; q {p_text(top['q'])})."
        )
    stats = of("stats")
    row = stats[(stats["category"] == best["category"]) & (stats["layer"] == best["layer"])].iloc[0]
    halves = stats["half_centred"].dropna()
    card["Reliability"] = (
        f"The halves of the cells correlate with r = {figure(row['half_centred'])} in that layer "
        f"(95 % interval {interval(row, 'half_centred_low', 'half_centred_high')}; null "
        f"{figure(row['half_null_low'])} to {figure(row['half_null_high'])}; q "
        f"{p_text(row['half_q'])}; {count(row['half_pairs'])} pairs). Over {len(halves)} matrices "
        f"the median is {figure(halves.median())} ({figure(halves.min())} to "
        f"{figure(halves.max())})."
    )
    return card


def check_cards(page: Page, run: Path) -> None:
    """Assert that each model has a card, and that each of its sentences is that of the tables."""
    opened(page, run)
    plan = load_plan(RunRoot(run))
    cards = page.locator("article.finding")
    assert cards.count() == len(plan.models)
    for m, card in zip(plan.models, cards.all(), strict=True):
        assert card.locator("h3 a").inner_text() == m.name
        labels, texts = (card.locator(tag).all_inner_texts() for tag in ("dt", "dd"))
        expected = card_of(run, plan, m)
        assert labels == list(expected), m.name
        for label, text in zip(labels, texts, strict=True):
            if label != "After co-expression":
                assert text == expected[label], m.name
                continue
            assert text.startswith(expected[label]), m.name
            clearest = text.removeprefix(expected[label])
            verdicts = run / "tables/verdicts.parquet"
            if verdicts.exists():
                known = pd.read_parquet(verdicts).query("model == @m.name")
                assert clearest in set(known["sentence"]), m.name


def check_headline(page: Page, run: Path) -> None:
    """Assert that the sentence and the tile on verdicts count matrices, not layers."""
    verdicts = pd.read_parquet(run / "tables/verdicts.parquet")
    n = verdicts["verdict"].value_counts()
    beyond = int(n.get(BEYOND, 0))
    start = (
        f"{beyond} of {len(verdicts)} matrices (one for each layer, category and attention variant)"
    )
    texts = page.locator("#verdict > p").all_inner_texts()
    assert any(text.startswith(start) for text in texts), texts
    tiles = page.locator("#verdict .facts li").all_inner_texts()
    assert any(
        " ".join(tile.split()) == f"{beyond} of {len(verdicts)} matrices beyond co-expression"
        for tile in tiles
    ), tiles


def test_the_card_of_a_small_run(page: Page, finished_run: Path) -> None:
    check_cards(page, finished_run)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_cards_of_the_demonstration(page: Page, demonstration: Path) -> None:
    """Red: "Of 12 layers", where a model of four layers was read in three categories."""
    check_cards(page, demonstration)
    check_headline(page, demonstration)
