"""The plan: everything that decides a run's bytes, frozen before anything runs."""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic.dataclasses import dataclass

from octoscope.config.types import Projection
from octoscope.config.view_names import default_min_cells
from octoscope.json_values import hash_json
from octoscope.run_plan.settings import HoldsSettings, PoolPlan
from octoscope.run_plan.work_names import matrix_work, pairs_work, residual_work

SCHEMA = "octoscope-plan/4"
# a run may continue on another machine; it says so
NOT_HASHED = {"instruction_set", "row_blocks", "count_files"}
COEXPRESSION = "coexpression"  # family of the entries without a checkpoint


class _Value(BaseModel):
    """Part of a plan; fields that earlier versions lack are left out where they have the default.

    So plans of earlier versions keep their hash.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    ADDED: ClassVar[tuple[str, ...]] = ()  # fields that came later

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        body: dict[str, Any] = handler(self)
        for name in self.ADDED:
            if getattr(self, name) == type(self).model_fields[name].default:
                body.pop(name, None)  # it may be excluded
        return body


# Not a BaseModel: of a large plan every actor holds 10^5, and those take twelve times the memory.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Unit:
    """One (model, category, half, cell range): the smallest restartable piece of work."""

    id: str
    model: str
    category: int
    half: int
    start: int
    stop: int

    @property
    def work(self) -> str:
        """Folder in the run."""
        return f"units/{self.id}"


class ModelPlan(_Value):
    """An attention variant of a checkpoint: one matrix per category and layer.

    Attributes
    ----------
    base
        The model whose units hold the sums: itself, or the variant that was declared first.
    estimator
        ``per_cell``: mean of each cell's attention; ``mean_residual``: attention of the mean cell;
        ``pearson``, ``spearman``: co-expression, whose entries have one "layer" and no checkpoint.
    heads
        ``mean``, ``max`` or one head.
    projection
        For ``mean_residual``: ``full`` (norm, weights and biases) or ``weights_only``.
    views
        Views that its matrices are finalised in.
    axis
        Ensembl ids of the accumulated genes.
    gene_sets_absent
        Declared genes that are not among them.
    imported
        Its mean residual streams are read from a store of another program: there are no cells, no
        units and no pair counts, and ``max_tokens`` and the sizes of batches say nothing.
    macro_cells
        Cells whose residuals are in memory at once. A larger unit passes the layers in several
        turns and keeps the sums of all layers between them. None: the cells of a unit.
    """

    ADDED = ("macro_cells", "imported")
    name: str
    base: str
    estimator: Literal["per_cell", "mean_residual", "pearson", "spearman"]
    heads: Literal["mean", "max"] | int
    projection: Projection | None
    views: list[str]
    family: str
    path: str
    python: str | None
    package: str
    digests: dict[str, str]
    checkpoint_bytes: int
    options: dict[str, Any]
    input_genes: list[str] | None
    layers: list[int]
    n_layers: int
    n_heads: int
    d: int
    mass_columns: list[str]
    axis: list[str]
    symbols: list[str]
    gene_sets: dict[str, list[int]]
    gene_sets_absent: dict[str, list[str]]
    dtype: str
    max_tokens: int
    unit_cells: int
    macro_cells: int | None = None
    micro_batch: int
    batch_cells: int
    demonstration: bool
    gene_report: dict[str, int]
    imported: bool = False


class RowBlocks(_Value):
    """How units of a model sum a layer whose sums do not fit at once. No bit depends on it.

    Attributes
    ----------
    rows
        Genes whose rows are summed together: whole tiles.
    keep_queries
        Queries and keys of all cells are kept meanwhile, and a layer runs once. False: it runs
        again over all cells for each block.
    """

    rows: int
    keep_queries: bool

    def count(self, genes: int) -> int:
        """Return the number of blocks."""
        return -(-genes // self.rows)


def logits_alone(attention_variants: list[ModelPlan], moments: int) -> bool:
    """Tell whether these ``per_cell`` variants need only the logits of a unit."""
    views = {view.partition(".")[0] for m in attention_variants for view in m.views}
    return views == {"logit"} and moments == 1 and all(m.heads != "max" for m in attention_variants)


class DonorGroupPlan(_Value):
    """Cells [start, stop) of a half, of so many donors; units lie within one group."""

    half: int
    start: int
    stop: int
    donors: int


class CategoryPlan(_Value):
    """A category and how its cells are divided.

    Attributes
    ----------
    cells
        Cells of each half; None: the run was imported, and they are not known.
    donors
        Donors; None: not known.
    min_cells
        Cells that a pair needs; None: not known.
    """

    ADDED = ("groups",)
    name: str
    cells: tuple[int, int] | None
    donors: int | None
    min_cells: int | None
    groups: list[DonorGroupPlan] | None = None

    @property
    def n_cells(self) -> int | None:
        """Cells of both halves; None: not known."""
        return None if self.cells is None else sum(self.cells)

    @property
    def cell_ranges(self) -> list[tuple[int, int, int]]:
        """Return (half, first, stop) of what units divide: the groups, or the halves."""
        if self.cells is None:
            return []
        if self.groups is None:
            return [(half, 0, n) for half, n in enumerate(self.cells)]
        return [(g.half, g.start, g.stop) for g in self.groups]


class Block(NamedTuple):
    """The matrices of an attention variant in a category: one per layer."""

    model: str
    category: int


class Plan(HoldsSettings, _Value):
    """The plan of a run: what will be computed, and the resources it needs.

    Attributes
    ----------
    config_hash
        Digest of the configuration's settings that decide results.
    settings
        Those of them beside the inputs, resolved; see ``octoscope.run_plan.settings``.
    threads
        Torch threads per actor.
    instruction_set
        Of the machine that planned; None in plans of earlier versions. Not part of the hash: a run
        may continue on another machine; it says so.
    atlas
        Facts of the atlas; None: the run was imported.
    needs
        Projected bytes and counts; they do not decide results.
    row_blocks
        By checkpoint, where the sums of a layer do not fit at once. Not part of the hash, as it
        follows the memory at hand.
    count_files
        Sizes, times and stored checksums of the files that hold counts, as digests. Not part of the
        hash: a copy has other times.
    """

    ADDED = ("instruction_set", "row_blocks", "count_files")

    schema_version: str = SCHEMA
    config_hash: str
    atlas: dict[str, Any] | None
    network: dict[str, Any] | None
    categories: list[CategoryPlan]
    refused_cells: dict[str, int]
    models: list[ModelPlan]
    units: list[Unit]
    threads: int
    versions: dict[str, str]
    instruction_set: str | None = None
    needs: dict[str, float]
    row_blocks: dict[str, RowBlocks] = {}
    count_files: dict[str, Any] = {}

    def __repr__(self) -> str:
        models = ", ".join(m.name for m in self.models)
        n = len(self.categories)
        return f"<Plan {self.hash[:12]}: {models}; {n} categories, {len(self.units)} units>"

    __str__ = __repr__

    @cached_property
    def hash(self) -> str:
        """Digest that every commit record carries."""
        return hash_json(self.model_dump(mode="json", exclude=NOT_HASHED))

    @cached_property
    def model_groups(self) -> dict[str, str]:
        """Return the group of each checkpoint's model; none without comparisons."""
        groups = {} if self.compare is None else self.compare.model_groups
        return {model: group for group, members in groups.items() for model in members}

    @cached_property
    def pools(self) -> dict[str, PoolPlan]:
        """Return the pools of categories by name; none without comparisons."""
        pools: dict[str, PoolPlan] = {}
        at = {c.name: i for i, c in enumerate(self.categories)}
        for name, members in (self.compare.pools if self.compare else {}).items():
            chosen = sorted({at[member] for member in members})
            cells = sum(self.categories[i].n_cells or 0 for i in chosen)
            least = self.settings.min_cells or default_min_cells(cells)
            pools[name] = PoolPlan(chosen, least)
        return pools

    @cached_property
    def halves(self) -> dict[tuple[str, int, int], list[Unit]]:
        """Units by (base model, category, half), each list by index."""
        by_half: dict[tuple[str, int, int], list[Unit]] = {}
        for u in self.units:
            by_half.setdefault((u.model, u.category, u.half), []).append(u)
        return by_half

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with changes; cached properties are computed again."""
        copied = super().model_copy(update=update, deep=deep)
        for derived in ("hash", "halves", "model_groups", "pools"):
            copied.__dict__.pop(derived, None)
        return copied

    def model(self, name: str) -> ModelPlan:
        """Return a model by name."""
        return next(m for m in self.models if m.name == name)

    @property
    def bases(self) -> list[ModelPlan]:
        """Return the entries whose units hold the sums: one per checkpoint, and co-expression."""
        return [m for m in self.models if m.name == m.base]

    @property
    def checkpoints(self) -> list[ModelPlan]:
        """Return one entry per checkpoint."""
        return [m for m in self.bases if m.family != COEXPRESSION]

    def attention_variants(self, base: str, estimator: str) -> list[ModelPlan]:
        """Return the attention variants of a checkpoint by one estimator."""
        return [m for m in self.models if (m.base, m.estimator) == (base, estimator)]

    def logits_alone(self, base: str) -> bool:
        """Tell whether units of a checkpoint sum only logits, because no view needs the softmax."""
        return logits_alone(self.attention_variants(base, "per_cell"), self.moments)

    def units_of(self, model: str, category: int, half: int) -> list[Unit]:
        """Return the units of one half, by index."""
        return list(self.halves.get((self.model(model).base, category, half), []))

    def first_unit(self, model: str, category: int) -> Unit | None:
        """Return the unit that also writes what a model has once; None: there is no cell."""
        units = (u for half in (0, 1) for u in self.units_of(model, category, half))
        return next(units, None)

    def units_by_group(self, model: str, category: int) -> list[list[Unit]]:
        """Return the units of each donor group of a category; none where it has no groups."""
        return [
            [u for u in self.units_of(model, category, g.half) if g.start <= u.start < g.stop]
            for g in self.categories[category].groups or []
        ]

    def pairs_work(self) -> list[str]:
        """Return the folders of pair counts, one per checkpoint and category."""
        counted = [m for m in self.bases if not m.imported]
        return [pairs_work(m.name, c) for m in counted for c in range(len(self.categories))]

    def residual_work(self) -> list[str]:
        """Return the folders of mean cells, one per checkpoint with mean cells and category."""
        return [
            residual_work(m.name, c)
            for m in self.bases
            if self.attention_variants(m.name, "mean_residual")
            for c in range(len(self.categories))
        ]

    def works(self) -> list[str]:
        """Return the folders of all work, in the order of stages."""
        units = [u.work for u in self.units]
        return units + self.residual_work() + self.pairs_work() + self.matrix_work()

    def finished_blocks(self, quarantined: Container[str]) -> list[Block]:
        """Return the blocks none of whose work was quarantined, in the order of the plan."""
        finished = []
        for m in self.models:
            for c in range(len(self.categories)):
                works = [u.work for h in (0, 1) for u in self.units_of(m.name, c, h)]
                works.append(pairs_work(m.base, c))
                if m.estimator == "mean_residual":
                    works.append(residual_work(m.base, c))
                works += [matrix_work(m.name, c, y) for y in m.layers]
                if not any(work in quarantined for work in works):
                    finished.append(Block(m.name, c))
        return finished

    def matrix_work(self) -> list[str]:
        """Return the folders of matrices, one per attention variant, category and layer."""
        return [
            matrix_work(m.name, c, layer)
            for m in self.models
            for c in range(len(self.categories))
            for layer in m.layers
        ]
