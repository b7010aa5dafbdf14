"""The configuration of a run: one source for YAML, ``--set``, help texts and the saved file."""

from __future__ import annotations

import re
from typing import Any

from octoscope.config.analysis_config import CompareConfig
from octoscope.config.inputs_config import STORED, InputsConfig
from octoscope.config.run_settings import RunSettings
from octoscope.config.view_names import CENTRED

_MOST_GENES, _MOST_CHARACTERS = 100_000, 2_000_000  # listed in all gene sets of a configuration


class RunConfig(RunSettings, InputsConfig):
    """Everything that decides the content of a run directory."""

    def model_post_init(self, _: Any) -> None:
        """Check references between sections.

        Raises
        ------
        ValueError
            If a gene set or model is named but not declared, or a name is used twice.
        """
        if self.atlas is not None and not self.atlas.category_key:
            raise ValueError("atlas.category_key: name at least one obs column")
        self._check_stores()
        sets, models = [g.name for g in self.gene_sets], [m.name for m in self.models]
        for kind, names in (("gene_sets", sets), ("models", models)):
            twice = {n for n in names if names.count(n) > 1}
            if twice:
                raise ValueError(f"{kind}: the name {sorted(twice)[0]!r} is used twice")
        by_folder: dict[str, str] = {}
        for name in models:  # they name folders, which some file systems hold under one name
            other = by_folder.setdefault(name.casefold(), name)
            if other != name:
                raise ValueError(f"models: {other!r} and {name!r} differ by case only; rename one")
        for name in models:
            if re.fullmatch(r"c\d{4,}", name.casefold()):
                raise ValueError(f"models: a category's files are called {name!r} too; rename it")
        if self.accumulate != "all" and self.accumulate not in sets:
            raise ValueError(f"accumulate: gene set {self.accumulate!r} is not declared in {sets}")
        listed = [gene for g in self.gene_sets for gene in g.genes or ()]
        if len(listed) > _MOST_GENES or sum(map(len, listed)) > _MOST_CHARACTERS:
            raise ValueError(
                f"gene_sets: {len(listed):,} genes in all, of {sum(map(len, listed)):,} characters;"
                f" at most {_MOST_GENES:,} of {_MOST_CHARACTERS:,} can be listed"
            )
        for g in self.gene_sets:
            if (g.kind == "panel") != (g.genes is not None):
                raise ValueError(f"gene_sets.{g.name}: set genes exactly when kind is 'panel'")
            for m in g.models or []:
                if m not in models:
                    raise ValueError(f"gene_sets.{g.name}.models: {m!r} is not one of {models}")
        if self.edges is not None:
            for field, value, declared in (
                ("gene_set", self.edges.gene_set, sets),
                ("view", self.edges.view, list(self.views)),
            ):
                if value is not None and value not in declared:
                    raise ValueError(f"edges.{field}: {value!r} is not declared in {declared}")
        if self.donor_groups and (self.donor_groups < 4 or self.donor_groups % 2):
            raise ValueError(
                f"donor_groups: {self.donor_groups} is not an even number of at least 4"
            )
        if self.donor_groups and self.atlas is not None and self.atlas.replicate_key is None:
            raise ValueError("donor_groups: set atlas.replicate_key, the column of donors")
        for view in self.centred:
            if view not in self.views:
                raise ValueError(f"centred: {view!r} is not one of the views {list(self.views)}")
        signed = [*self.views, *(v + CENTRED for v in self.centred)]
        for name in self.absolute:
            if name not in signed:
                raise ValueError(f"absolute: {name!r} is not one of {signed}")
        self._check_comparisons(models)
        for model in self.models:
            if (model.tokens == "panel") != (model.panel is not None):
                raise ValueError(f"models.{model.name}: set panel exactly when tokens is 'panel'")
            if model.panel is not None and model.panel not in sets:
                raise ValueError(
                    f"models.{model.name}.panel: {model.panel!r} is not declared in {sets}"
                )

    def _check_stores(self) -> None:
        """Check that either all models are stores and no setting needs cells, or none is."""
        for m in self.models:
            if (m.family == STORED) != (self.atlas is None):
                wrong = (
                    f"{STORED} holds no cells; set atlas: null"
                    if self.atlas is not None
                    else f"{m.family!r} reads cells; give an atlas, or family: {STORED}"
                )
                raise ValueError(f"models.{m.name}.family: {wrong}")
        if self.atlas is not None:
            return
        needed: list[tuple[str, object, object]] = [
            ("estimators", self.estimators, ["mean_residual"]),
            ("projection", self.projection, ["weights_only"]),
            ("coexpression", self.coexpression, []),
            ("donor_groups", self.donor_groups, 0),
            ("min_cells", self.min_cells, None),
            ("moments", self.moments, 1),
            ("compare.pools", self.compare.pools if self.compare else {}, {}),
            *((f"models.{m.name}.tokens", m.tokens, "published") for m in self.models),
        ]
        for field, value, only in needed:
            if value != only:
                raise ValueError(
                    f"{field}: {value!r}, but stores hold mean residual streams and weights alone; "
                    f"only {only!r} can be had of them"
                )

    def _check_comparisons(self, models: list[str]) -> None:
        compare = self.compare or CompareConfig()
        for k in compare.k or []:
            if not 1 <= k <= self.top_k:
                raise ValueError(f"compare.k: {k} is not between 1 and top_k ({self.top_k})")
        views = self.all_views
        sets = [g.name for g in self.gene_sets]
        for field, values, declared in (
            ("gene_sets", compare.gene_sets, sets),
            ("views", compare.views, views),
        ):
            for value in values or []:
                if value not in declared:
                    raise ValueError(f"compare.{field}: {value!r} is not one of {declared}")
        seen: set[str] = set()
        for group, members in (compare.model_groups or {}).items():
            for name in members:
                if name not in models:
                    raise ValueError(
                        f"compare.model_groups.{group}: {name!r} is not one of {models}"
                    )
                if name in seen:
                    raise ValueError(f"compare.model_groups.{group}: {name!r} is in two groups")
                seen.add(name)
        for pool, categories in compare.pools.items():
            if len(set(categories)) < 2:
                raise ValueError(f"compare.pools.{pool}: name at least two categories")
