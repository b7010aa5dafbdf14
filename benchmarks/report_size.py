"""Size of the report of a full-size run, and how long Chromium takes to open it.

    python benchmarks/report_size.py demo-run [--layers 12,12,6,8,18,6,4] [--categories 20]

A finished run is read as if it had more models, layers and categories.
Each new matrix has the rows of one of the run's own, with its numbers changed by some percent and,
among the top pairs, other genes. So a page of it is as large as that of a real run: text that
repeats would be compressed away.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from octoscope.report.page import page
from octoscope.results.run_results import Results
from octoscope.run_plan.values import COEXPRESSION, Plan
from octoscope.store.run_dir import RunRoot

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# layer columns of each column of models
LAYERS = {
    "model": ("layer", "layer_a", "layer_b"),
    "query_model": ("query_layer",),
    "eval_model": ("eval_layer",),
    "model_a": ("layer_a",),
    "model_b": ("layer_b",),
}
FULL_SIZE = (12, 12, 6, 8, 18, 6, 4)  # layers of seven models, 66 in all
NOT_LARGER = {"pools", "gene_sets", "overlap_chosen"}  # their columns name lists of models


class LargerTables(Mapping[str, pd.DataFrame]):
    """Tables of a larger run by name; each is made when it is first asked for."""

    def __init__(self, run: LargerRun) -> None:
        self._run = run
        self._tables: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._tables:
            self._tables[name] = self._run.larger(self._run.stored_name(name), name)
        return self._tables[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._run.stored_name(name) in self._run.own.tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.own.tables)

    def __len__(self) -> int:
        return len(self._run.own.tables)


class LargerRun(Results):
    """A finished run of ``len(layers)`` models and ``categories`` categories.

    Parameters
    ----------
    root
        A run with at least one model by cell, in its first gene set and view.
    layers
        Layers of each model.
    """

    def __init__(self, root: RunRoot, layers: Sequence[int], categories: int) -> None:
        super().__init__(root)
        self.own = Results(root)
        plan = self.own.plan
        self.gene_set, self.view = self.own.config.gene_sets[0].name, plan.views[0]
        attending = [m for m in plan.checkpoints if m.estimator == "per_cell"]
        chosen = {f"model{i}": attending[i % len(attending)] for i in range(len(layers))}
        baseline = [m for m in plan.models if m.family == COEXPRESSION][:1]
        self.source = {name: m.name for name, m in chosen.items()} | {
            m.name: m.name for m in baseline
        }
        self.models = [
            m.model_copy(update={"name": name, "base": name, "layers": list(range(n)),
                                 "n_layers": n})
            for (name, m), n in zip(chosen.items(), layers, strict=True)
        ] + baseline  # fmt: skip
        names = [f"category {i:02d}" for i in range(categories)]
        self.categories = {name: plan.categories[i % len(plan.categories)]
                           for i, name in enumerate(names)}  # fmt: skip
        rows = [
            (self.source[m.name], plan.model(self.source[m.name]).layers[i % n], m.name, layer)
            for m in self.models
            for n in [len(plan.model(self.source[m.name]).layers)]
            for i, layer in enumerate(m.layers)
        ]
        self._layers = pd.DataFrame(rows, columns=["model", "layer", "new_model", "new_layer"])
        self._categories = pd.DataFrame(
            [(c.name, name) for name, c in self.categories.items()], columns=["category", "new"]
        )

    @cached_property
    def plan(self) -> Plan:  # type: ignore[override]
        own = self.own.plan
        groups = {m.name: [m.name] for m in self.models if m.family != COEXPRESSION}
        compare = own.compare and own.compare.model_copy(
            update={"model_groups": groups, "pools": {}}
        )
        return own.model_copy(update={
            "models": self.models,
            "categories": [c.model_copy(update={"name": n}) for n, c in self.categories.items()],
            "settings": own.settings.model_copy(update={"compare": compare}),
        })  # fmt: skip

    @cached_property
    def provenance(self) -> dict[str, Any]:  # type: ignore[override]
        body = self.own.provenance
        cells = {(c["model"], c["category"]): c for c in body["cells"]}
        per_category = [
            cells[self.source[m.name], c.name] | {"model": m.name, "category": name}
            for m in self.models
            for name, c in self.categories.items()
        ]
        digests = {m.name: body["checkpoints"][self.source[m.name]]
                   for m in self.models if m.family != COEXPRESSION}  # fmt: skip
        return body | {"cells": per_category, "checkpoints": digests}

    @cached_property
    def tables(self) -> LargerTables:  # type: ignore[override]
        return LargerTables(self)

    def stored_name(self, name: str) -> str:
        """Return the name in the run itself of a table of the larger one."""
        folder, _, last = name.rpartition("/")
        if folder == "consensus" and last[1:].isdigit():
            number = int(last[1:]) % len(self.own.plan.categories)
            return f"consensus/c{number:04d}"
        return f"{folder}/{self.source.get(last, last)}" if folder else name

    def larger(self, stored: str, name: str) -> pd.DataFrame:
        """Return a table with a row of each new matrix, its numbers a little changed."""
        table = self.own.tables[stored]
        if stored in NOT_LARGER:
            return table.head(0) if "category" in table or stored == "pools" else table
        for column, value in (("gene_set", self.gene_set), ("view", self.view)):
            if column in table:
                kept = table[column] == value
                if "model" in table and column == "view":  # co-expression has views of its own
                    kept |= table["model"].isin([m.name for m in self.models])
                table = table[kept]
        if name.startswith(("topk/", "consensus/")) and "model" in table:
            table = self._of_models(table, "model", [name.partition("/")[2]])
        else:
            for column in LAYERS:
                if column in table:
                    table = self._of_models(table, column, list(self.source))
        if "group" in table and "model" in table:
            table = table.assign(group=table["model"])
        if "category" in table:
            mine = self._categories
            if name.startswith("consensus/c"):
                mine = mine.iloc[[int(name[-4:])]]
            table = table.merge(mine, on="category").drop(columns="category")
            table = table.rename(columns={"new": "category"})
        table = table[[c for c in self.own.tables[stored].columns if c in table]]
        return self._changed(table.reset_index(drop=True), name)

    def _of_models(self, table: pd.DataFrame, column: str, models: list[str]) -> pd.DataFrame:
        layers = [c for c in LAYERS[column] if c in table]
        if column == "model" and "model_a" in table:
            layers = []
        mapped = self._layers[self._layers["new_model"].isin(models)]
        if not layers:
            mapped = mapped.drop_duplicates("new_model")
            joined = table.merge(
                mapped[["model", "new_model"]].set_axis([column, "new"], axis=1), on=column
            )
            return joined.drop(columns=column).rename(columns={"new": column})
        for i, layer in enumerate(layers):
            on = [column, layer] if i == 0 else ["new", layer]
            key = "model" if i == 0 else "new_model"
            part = mapped[[key, "layer", "new_model", "new_layer"]]
            part = part.loc[:, ~part.columns.duplicated()]
            if i == 0:
                part = part.set_axis([*on, "new", "new_layer"], axis=1)
            else:
                part = part.set_axis([*on, "new_layer"], axis=1)
            table = table.merge(part, on=on).drop(columns=layer)
            table = table.rename(columns={"new_layer": layer})
        return table.drop(columns=column).rename(columns={"new": column})

    def _changed(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        for column in table.select_dtypes("floating"):
            table[column] = table[column] * rng.uniform(0.97, 1.03, len(table))
        if name.startswith("topk/"):
            axis, symbols = self.plan.models[0].axis, self.plan.models[0].symbols
            for end in ("query", "key"):
                at = rng.integers(0, len(axis), len(table))
                table[end] = np.array(axis, object)[at]
                table[f"{end}_symbol"] = np.array(symbols, object)[at]
        return table


# Notes in the page itself, in milliseconds from navigation, when the first screen is drawn and when
# the search for a gene has answered: no time of the tool that asks is in it.
_NOTES = """
window.openingTimes = {};
new MutationObserver((_, observer) => {
  if (document.querySelector("#limits, #refused") && !openingTimes.first) {
    requestAnimationFrame(() => { openingTimes.first ??= performance.now(); });
  }
  if (document.querySelector("#gene-pairs tbody td")) {
    openingTimes.answer = performance.now();
    observer.disconnect();
  }
}).observe(document, {subtree: true, childList: true});
"""


def opening(chromium: Browser, page: Path, gene: str) -> dict[str, float]:
    """Open a page at the search of a gene; returns seconds and the number of elements.

    ``first_s``: until the first screen is drawn; ``answer_s``: until the pairs of the gene stand
    there as a table; ``cpu_s``: processor time of the page's own thread until then.
    """
    tab = chromium.new_page(viewport={"width": 1200, "height": 900})
    try:
        tab.add_init_script(_NOTES)
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        tab.goto(f"{page.as_uri()}#gene={gene}", wait_until="commit")
        tab.wait_for_function("() => openingTimes.answer && openingTimes.first")
        metrics = session.send("Performance.getMetrics")["metrics"]
        first, answer, elements = tab.evaluate(
            "() => [openingTimes.first, openingTimes.answer, document.querySelectorAll('*').length]"
        )
    finally:
        tab.close()
    cpu = next(m["value"] for m in metrics if m["name"] == "TaskDuration")
    return {"first_s": first / 1e3, "answer_s": answer / 1e3, "cpu_s": cpu, "elements": elements}


def openings(page: Path, gene: str, times: int = 5) -> dict[str, float]:
    """Return the least of each figure of :func:`opening`: other work can only add to it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        binary = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = p.chromium.launch(executable_path=binary, args=["--no-sandbox", "--disable-gpu"])
        rows = [opening(chromium, page, gene) for _ in range(times)]
        chromium.close()
    return {name: min(row[name] for row in rows) for name in rows[0]}


def main() -> None:
    """Write the page beside nothing else, open it, print one JSON line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("run", type=Path)
    p.add_argument("--layers", default=",".join(map(str, FULL_SIZE)))
    p.add_argument("--categories", type=int, default=20)
    p.add_argument("--out", type=Path, default=Path("full-size.html"))
    a = p.parse_args()
    layers = [int(n) for n in a.layers.split(",")]
    began = time.process_time()
    body = page(LargerRun(RunRoot(a.run), layers, a.categories))
    seconds = time.process_time() - began
    a.out.write_bytes(body)
    print(json.dumps({"MB": len(body) / 1e6, "made_s": seconds} | openings(a.out.resolve(), "LYZ")))


if __name__ == "__main__":
    main()
