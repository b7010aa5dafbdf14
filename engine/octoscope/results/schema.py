"""Schema of every table of a run: of the analyses, and of the pipeline itself."""

from __future__ import annotations

from collections.abc import Sequence

from octoscope.analysis.registry import Column, Table, analyses

_MODEL = Column("model", "string", "Model")
_CATEGORY = Column("category", "string", "Cell category")

RUN_TABLES = (
    Table(
        "tables/vocabulary.parquet",
        "gene of the atlas and model",
        (
            Column(
                "model",
                "string",
                "Model; null: changed in the atlas itself, before any model",
            ),
            Column("gene", "string", "Ensembl id, or the name in the atlas"),
            Column("symbol", "string", "Its symbol; null: the row is of the atlas"),
            Column("what", "string", "matched, renamed, merged or dropped"),
            Column("why", "string", "The reason; null: it was matched by its own id"),
        ),
    ),
    Table(
        "tables/vocabulary_counts.parquet",
        "model and fate of genes: how many",
        (
            Column("model", "string", "Model; null: changed in the atlas itself"),
            Column("what", "string", "matched, renamed, merged or dropped"),
            Column("n_genes", "int64", "Genes of the atlas"),
        ),
    ),
    Table(
        "tables/cells.parquet",
        "model and category: which cells counted",
        (
            _MODEL,
            _CATEGORY,
            Column("selected", "int64", "Cells of the category; null: the run was imported"),
            Column("used", "int64", "Cells that counted"),
            Column("refused", "int64", "Cells that the model refused"),
            Column("min_cells", "int64", "Cells that must hold both genes of an eligible pair"),
            Column("tokens", "int64", "Tokens that the model read"),
        ),
    ),
    Table(
        "tables/refused.parquet",
        "cell that a model refused",
        (
            _MODEL,
            _CATEGORY,
            Column("cell", "string", "Name of the cell in the atlas"),
            Column("why", "string", "The reason"),
        ),
    ),
)


def schema(names: Sequence[str] = ()) -> dict[str, Table]:
    """Return every table that a run can have, by its path.

    Parameters
    ----------
    names
        Analyses of other packages, as in ``analyses`` of a configuration.

    Returns
    -------
    dict
        In paths ``{model}`` stands for the name of a variant, ``{category}`` for the number of a
        category (``c0003``).

    Raises
    ------
    InputError
        If no installed package has an analysis of a name.
    """
    tables = [*RUN_TABLES, *(t for a in analyses(names) for t in a.tables)]
    return {t.path: t for t in tables}
