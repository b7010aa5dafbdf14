"""Sections of a run's configuration that name its inputs: atlas, models, genes, network."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from octoscope.config.analysis_config import NetworkConfig
from octoscope.config.gene_file import GENE_FILE
from octoscope.config.types import SOME, UNIQUE, Location, Name, Section, setting
from octoscope.errors import InputError

Layer = Annotated[int, Field(ge=0, le=10**4)]
DType = Literal["float32", "bfloat16", "float16"]
DTYPES: tuple[str, ...] = get_args(DType)
STORED = "napistu-torch"  # family of models whose mean residual streams are in a store


class AtlasConfig(Section):
    """The atlas: its location, and the selection of cells."""

    path: Location = setting(
        description="AnnData in Zarr (v2 or v3; path or fsspec URL), or an h5ad file"
    )
    counts: str = setting("auto", "Where raw counts are: auto, X, raw.X or layers/<name>")
    category_key: Annotated[list[str], UNIQUE] = setting(
        factory=list, description="obs column(s) that define the categories"
    )
    replicate_key: str | None = setting(None, "obs column of the donor; null: none")
    gene_id_key: str | None = setting(None, "var column of Ensembl ids; null: the index")
    symbol_key: str = setting("feature_name", "var column of gene symbols")
    gene_aliases: Location | None = setting(
        None,
        "Table (tsv, csv, parquet) with columns alias and ensembl: symbols and retired "
        "ids that stand for a current Ensembl id; null: none",
    )
    primary_only: bool = setting(True, "Use cells with is_primary_data == True only")
    categories: Annotated[list[str], SOME, UNIQUE] | None = setting(
        None, "Categories to use; null: all"
    )
    missing_chunks: Literal["refuse", "fill"] = setting(
        "refuse",
        "Chunks that are not in the store, of a matrix's values or of obs and var "
        "columns. refuse: stop. fill: read them as zeros; writers may leave out chunks of zeros "
        "(a lost chunk then reads as the first category, False or no counts)",
    )
    duplicate_genes: Literal["refuse", "sum"] = setting(
        "refuse", "What to do with genes that have one id after version stripping"
    )

    fractional_counts: Literal["refuse", "round"] = setting(
        "refuse",
        "What to do with counts that are not whole (corrected for ambient RNA, estimated from "
        "transcripts). round: to the nearest whole number, where `counts` names the place",
        absent="refuse",
    )

    @property
    def fill_missing(self) -> bool:
        """Whether missing chunks are read as zeros."""
        return self.missing_chunks == "fill"


class ModelConfig(Section):
    """One checkpoint and how its tokens are made."""

    name: Name = setting(description="Name of the model in tables and folders")
    family: str = setting(
        description="Entry point in the group octoscope.models, e.g. scgpt; napistu-torch: a store "
        "of that package (docs/how-to/import-napistu.md)"
    )
    path: Location = setting(description="The published checkpoint folder")
    tokens: Literal["published", "panel"] = setting(
        "published", "Genes that enter the model: its own recipe, or gene_sets[panel]"
    )
    panel: Name | None = setting(None, "Gene set that enters the model, if tokens: panel")
    layers: Annotated[list[Layer], SOME, UNIQUE] | None = setting(
        None, "Layers to accumulate, from 0; null: all"
    )
    python: str | None = setting(
        None,
        "Python of another environment that has octoscope and the family's plug-in; null: this one",
    )
    dtype: DType = setting("float32", "Weights and products; residual stream and sums stay float32")
    options: dict[str, Any] = setting(factory=dict, description="The family's own settings")


class GeneSetConfig(Section):
    """A declared list of genes over which matrices are finalised."""

    name: Name = setting(description="Name of the gene set in tables")
    kind: Literal["model", "intersection", "panel"] = setting(
        "panel", "model: all genes of each model; intersection: genes of all models; panel: listed"
    )
    models: Annotated[list[Name], SOME, UNIQUE] | None = setting(
        None, "For intersection; null: all models"
    )
    genes: Annotated[list[str], SOME, GENE_FILE] | None = setting(
        None,
        "For panel: Ensembl ids or symbols; or `{file: PATH}`, a text file with one on each line "
        "(`#` begins a comment), which is read when the run is planned",
    )
    genes_file: Location | None = setting(
        None,
        "The file that the genes were read from, noted when the run is planned: nothing is "
        "written over it; null: they were listed",
        decides_results=False,
        absent=None,
    )

    @model_validator(mode="before")
    @classmethod
    def _note_file(cls, value: Any) -> Any:
        """Keep the name of a list's file beside its genes."""
        genes = value.get("genes") if isinstance(value, dict) else None
        file = genes.get("file") if isinstance(genes, dict) else None
        if isinstance(file, str) and file:
            return value | {"genes_file": file if "://" in file else os.path.abspath(file)}
        return value


class InputsConfig(Section):
    """Inputs of a run, and the title of its report."""

    title: str = setting("Octoscope run", "Title of the report", max_length=200)
    atlas: AtlasConfig | None = setting(
        description="Where the cells are and which of them are used; null: models of family "
        "napistu-torch, whose stores hold mean residual streams and no cells"
    )
    models: list[ModelConfig] = setting(description="Checkpoints to read", min_length=1)
    gene_sets: list[GeneSetConfig] = setting(
        factory=lambda: [GeneSetConfig(name="all", kind="model")],
        description="Lists of genes over which matrices are finalised",
        min_length=1,
    )
    accumulate: str = setting("all", "Pairs that are summed: all, or a gene set's name")
    network: NetworkConfig | None = setting(None, "The molecular network; null: none")
    notes: list[str] = setting(factory=list, description="Shown at the top of the report")

    @property
    def cells(self) -> AtlasConfig:
        """The atlas of a run that reads cells.

        Raises
        ------
        InputError
            If the run was imported, so that there are none.
        """
        if self.atlas is None:
            raise InputError(
                "atlas", "is null: the run was imported from stores, which hold no cells",
                "give the atlas, and the models' own checkpoints",
            )  # fmt: skip
        return self.atlas

    def input_paths(self) -> list[str]:
        """Return the paths and URLs that a run reads: nothing may be written into them."""
        paths = [m.path for m in self.models]
        if self.atlas is not None:
            paths += [p for p in (self.atlas.path, self.atlas.gene_aliases) if p is not None]
        paths += [g.genes_file for g in self.gene_sets if g.genes_file is not None]
        options = (v for m in self.models for v in m.options.values() if isinstance(v, str))
        paths += [v for v in options if "/" in v or os.path.isfile(v)]  # others are no paths
        if self.network is not None and self.network.path != "demo":
            paths.append(self.network.path)
        return paths
