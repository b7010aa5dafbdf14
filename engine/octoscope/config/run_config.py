"""The configuration of a run: one source for YAML, ``--set``, help texts and the saved file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    Field,
)

from octoscope.config.analysis_config import CompareConfig, EdgesConfig, NetworkConfig
from octoscope.config.execution_config import ExecutionConfig
from octoscope.config.types import ONE_OR_MORE, Estimator, Name, Place, Projection, Section, View
from octoscope.plan.views import ABSOLUTE, CENTRED

Correlation = Literal["pearson", "spearman"]
HeadChoice = Literal["mean", "max", "each"] | Annotated[int, Field(ge=0)]
DType = Literal["float32", "bfloat16", "float16"]
DTYPES: tuple[str, ...] = get_args(DType)


class AtlasConfig(Section):
    """Where the cells are and which of them are used."""

    path: Place = Field(
        description="AnnData in Zarr (v2 or v3; path or fsspec URL), or an h5ad file"
    )
    counts: str = Field("auto", description="Where raw counts are: auto, X, raw.X or layers/<name>")
    category_key: list[str] = Field(
        default_factory=list, description="obs column(s) that define the categories"
    )
    replicate_key: str | None = Field(None, description="obs column of the donor; null: none")
    gene_id_key: str | None = Field(None, description="var column of Ensembl ids; null: the index")
    symbol_key: str = Field("feature_name", description="var column of gene symbols")
    gene_aliases: str | None = Field(
        None,
        description="Table (tsv, csv, parquet) with columns alias and ensembl: symbols and retired "
        "ids that stand for a current Ensembl id; null: none",
    )
    primary_only: bool = Field(True, description="Use cells with is_primary_data == True only")
    categories: list[str] | None = Field(None, description="Categories to use; null: all")
    missing_chunks: Literal["refuse", "fill"] = Field(
        "refuse",
        description="Chunks that are not in the store, of a dense matrix or of obs and var "
        "columns. refuse: stop. fill: read them as zeros; writers may leave out chunks of zeros "
        "(a lost chunk then reads as the first category, False or no counts)",
    )
    duplicate_genes: Literal["refuse", "sum"] = Field(
        "refuse", description="What to do with genes that have one id after version stripping"
    )

    @property
    def fill_missing(self) -> bool:
        """Whether missing chunks are read as zeros."""
        return self.missing_chunks == "fill"


class ModelConfig(Section):
    """One checkpoint and how its tokens are made."""

    name: Name
    family: str = Field(description="Entry point in the group octoscope.models, e.g. scgpt")
    path: Place = Field(description="The published checkpoint folder")
    tokens: Literal["published", "panel"] = Field(
        "published", description="Genes that enter the model: its own recipe, or gene_sets[panel]"
    )
    panel: Name | None = Field(None, description="Gene set that enters the model, if tokens: panel")
    layers: list[int] | None = Field(None, description="Layers to accumulate; null: all")
    python: str | None = Field(
        None,
        description="Python of another environment that has octoscope and the family's plug-in; "
        "null: this one",
    )
    dtype: DType = Field(
        "float32", description="Weights and products; residual stream and sums stay float32"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="The family's own settings")


class GeneSetConfig(Section):
    """A declared list of genes over which matrices are finalised."""

    name: Name
    kind: Literal["model", "intersection", "panel"] = "panel"
    models: list[Name] | None = Field(None, description="For intersection; null: all models")
    genes: list[str] | None = Field(None, description="For panel: Ensembl ids or symbols")


class RunConfig(Section):
    """Everything that decides the content of a run directory."""

    title: str = Field("Octoscope run", max_length=200)
    seed: int = Field(0, ge=0)
    atlas: AtlasConfig
    models: list[ModelConfig] = Field(min_length=1)
    gene_sets: list[GeneSetConfig] = Field(
        default_factory=lambda: [GeneSetConfig(name="all", kind="model")], min_length=1
    )
    accumulate: str = Field("all", description="Pairs that are summed: all, or a gene set's name")
    views: list[View] = Field(
        ["marginal", "conditional", "lift", "logit"],
        min_length=1,
        description="What is read of the sums; `logit` alone needs no softmax and is faster",
    )
    top_k: int = Field(1000, ge=1)
    min_cells: int | None = Field(
        None, ge=1, description="Cells a pair needs to be eligible; null: max(20, 1 % of category)"
    )
    heads: Annotated[list[HeadChoice], ONE_OR_MORE] = Field(
        ["mean"],
        min_length=1,
        description="Within each cell: mean over heads, max over heads, each head, or head "
        "numbers; several give several matrices, the first under the model's own name",
    )
    estimators: Annotated[list[Estimator], ONE_OR_MORE] = Field(
        ["per_cell"],
        min_length=1,
        description="per_cell: mean of each cell's attention; mean_residual: attention of the mean "
        "cell over the accumulated genes; several give several matrices",
    )
    projection: Annotated[list[Projection], ONE_OR_MORE] = Field(
        ["full"],
        min_length=1,
        description="For mean_residual. full: the model's own norm, weights and biases; "
        "weights_only: W_q and W_k alone; both give matrices of each",
    )
    donor_groups: int = Field(
        0,
        ge=0,
        description="Groups of donors (atlas.replicate_key) per category, at most, that are left "
        "out in turn: intervals of top pairs over donors; an even number from 4 on, 0: none",
    )
    moments: Literal[1, 2] = Field(
        1,
        description="2: also the standard deviation between cells of each top pair's attention "
        "(estimator per_cell)",
    )
    coexpression: Annotated[list[Correlation], ONE_OR_MORE] = Field(
        default_factory=list,
        description="Correlation of log-normalised counts over the cells of each category, as "
        "matrices beside those of the models: pearson, spearman, or both",
    )
    permutations: int = Field(200, ge=50, description="Permutations between matrices (QAP)")
    max_permutation_factor: int = Field(
        10,
        ge=1,
        le=100,
        description="If no permutation of a test reaches the observed value, draw up to this many "
        "times `permutations` (1: no more)",
    )
    network: NetworkConfig | None = None
    edges: EdgesConfig | None = None
    centred: list[View] = Field(
        default_factory=list,
        description="Views that are also analysed without each gene's row and column effect, under "
        "the name <view>.centred (and with any, correlation.centred)",
    )
    absolute: list[str] = Field(
        default_factory=list,
        description="Views (also <view>.centred) whose pairs are also ordered by the size of their "
        "values, whatever the sign, under the name <view>.absolute",
    )
    compare: CompareConfig | None = Field(
        default_factory=CompareConfig, description="null: no comparisons"
    )
    analyses: list[str] = Field(
        default_factory=list,
        description="Analyses of other installed packages to run too, by the name of their entry "
        "point in the group octoscope.analyses",
    )
    keep_dense: Literal["none", "fp32"] = "none"
    notes: list[str] = Field(default_factory=list, description="Shown at the top of the report")
    execution: ExecutionConfig = Field(default_factory=lambda: ExecutionConfig())

    def model_post_init(self, _: Any) -> None:
        """Check references between sections.

        Raises
        ------
        ValueError
            If a gene set or model is named but not declared, or a name is used twice.
        """
        if not self.atlas.category_key:
            raise ValueError("atlas.category_key: name at least one obs column")
        sets, models = [g.name for g in self.gene_sets], [m.name for m in self.models]
        for kind, names in (("gene_sets", sets), ("models", models)):
            twice = {n for n in names if names.count(n) > 1}
            if twice:
                raise ValueError(f"{kind}: the name {sorted(twice)[0]!r} is used twice")
        if self.accumulate != "all" and self.accumulate not in sets:
            raise ValueError(f"accumulate: gene set {self.accumulate!r} is not declared in {sets}")
        for g in self.gene_sets:
            if (g.kind == "panel") != (g.genes is not None):
                raise ValueError(f"gene_sets.{g.name}: kind panel needs genes, other kinds none")
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
            raise ValueError(f"donor_groups: {self.donor_groups} is not an even number from 4 on")
        if self.donor_groups and self.atlas.replicate_key is None:
            raise ValueError("donor_groups: needs atlas.replicate_key, the column of donors")
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
                raise ValueError(f"models.{model.name}: tokens: panel needs panel, and only then")
            if model.panel is not None and model.panel not in sets:
                raise ValueError(
                    f"models.{model.name}.panel: {model.panel!r} is not declared in {sets}"
                )

    @property
    def all_views(self) -> list[str]:
        """Views of a model's matrices, derived ones too."""
        made = [*self.views, *(v + CENTRED for v in self.centred)]
        return made + [v + ABSOLUTE for v in self.absolute]

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
