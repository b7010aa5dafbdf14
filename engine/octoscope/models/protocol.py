"""The contract between a model family and everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from scipy import sparse

from octoscope.genes import GeneTable
from octoscope.models.ragged import moved_columns

# A token is a gene, padding, or one of the families' special tokens.
TOKEN_KINDS = ("gene", "pad", "cls", "eos", "cell", "class", "depth", "count", "context")
GENE, PAD = 0, 1


@dataclass(frozen=True)
class GeneMatch:
    """Match of the genes of an atlas with the vocabulary of a model.

    Attributes
    ----------
    genes
        The model's gene tokens, in vocabulary order, under the atlas's ids where they match.
    model_gene
        [atlas genes] int32, index into ``genes``; -1 where the model has no such gene.
    report
        One row per atlas gene that is dropped, merged or renamed: id, what, why.
    panel
        [model genes] bool, the only genes that may become tokens where a panel is declared; None:
        the family's own recipe. Counts of other genes still enter totals.
    """

    genes: GeneTable
    model_gene: np.ndarray
    report: list[dict[str, str]]
    panel: np.ndarray | None = None

    @cached_property
    def matched(self) -> np.ndarray:
        """Ascending indices into ``genes`` of the genes that the atlas has."""
        return np.unique(self.model_gene[self.model_gene >= 0])

    @cached_property
    def allowed(self) -> np.ndarray:
        """Ascending indices into ``genes`` of matched genes that may become tokens."""
        matched = self.matched
        return matched if self.panel is None else matched[self.panel[matched]]

    def named_by(self, atlas: GeneTable) -> GeneMatch:
        """Return the match with matched genes under the atlas's ids and symbols.

        Models of one run then call a gene alike, whatever their own vocabularies call it. Of
        several atlas genes that become one, the one with the model's own id gives the name, else
        the first. An unmatched gene whose id the atlas uses for another gene loses it.
        """
        ensembl, symbol = self.genes.ensembl.copy(), self.genes.symbol.copy()
        own = self.genes.ensembl
        first: dict[int, int] = {}
        for a, g in enumerate(self.model_gene.tolist()):
            if g >= 0 and (g not in first or atlas.ensembl[a] == own[g]):
                first[g] = a
        for g, a in first.items():
            ensembl[g], symbol[g] = atlas.ensembl[a], atlas.symbol[a] or symbol[g]
        used = {str(atlas.ensembl[a]) for a in first.values()}
        for g, name in enumerate(own):
            if g not in first and str(name) in used:
                ensembl[g] = ""
        return replace(self, genes=GeneTable(ensembl, symbol))

    def with_panel(self, ensembl: list[str] | None) -> GeneMatch:
        """Return the match in which only these genes (atlas ids) may become tokens."""
        if ensembl is None:
            return self
        return replace(self, panel=np.isin(self.genes.ensembl.astype(str), ensembl))

    def model_counts(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return counts [cells, model genes], canonical, from counts [cells, atlas genes]."""
        n = len(self.genes)
        parts = moved_columns(counts.indptr, counts.indices, counts.data, self.model_gene, n)
        matrix = sparse.csr_matrix(parts, shape=(counts.shape[0], n))
        matrix.has_canonical_format = True
        return matrix


@dataclass(frozen=True)
class GeneStatistics:
    """Statistics over all selected cells that a family may use to choose genes.

    Attributes
    ----------
    cells
        [categories] int64.
    total
        [atlas genes] float64, sum of raw counts.
    mean, variance
        [categories, atlas genes] float64 of ln(1 + 1e4 count / cell total); variance divides by n.
    """

    cells: np.ndarray
    total: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Variant:
    """A published size of a family, and where users get it (text: some say "from the file")."""

    name: str
    n_layers: str
    d: str
    n_heads: str
    files: str
    source: str
    licence: str


@dataclass(frozen=True)
class Tokens:
    """Model input of a batch of cells.

    Attributes
    ----------
    cell_ids
        [cells] str.
    gene
        [cells, tokens] int32, index into the match's ``genes``; -1 at other tokens.
    kind
        [cells, tokens] int8, index into ``TOKEN_KINDS``.
    value
        [cells, tokens] float32, as the model receives it.
    row
        [cells, tokens] int64, row of the embedding table.
    mask
        [cells, tokens] bool, True where the token is attended to.
    group
        [cells] int32, the number that a column of obs gives a cell; None: the family needs none.
    """

    cell_ids: np.ndarray
    gene: np.ndarray
    kind: np.ndarray
    value: np.ndarray
    row: np.ndarray
    mask: np.ndarray
    group: np.ndarray | None = None

    def take(self, index: np.ndarray) -> Tokens:
        """Return the cells at ``index``, padding trimmed to the longest of them."""
        width = int(self.mask[index].sum(1).max(initial=1))
        # Tokens are left-aligned: real tokens first, padding after.
        gene, kind, value, row, mask = (
            a[index][:, :width] for a in (self.gene, self.kind, self.value, self.row, self.mask)
        )
        group = None if self.group is None else self.group[index]
        return Tokens(self.cell_ids[index], gene, kind, value, row, mask, group)


@dataclass(frozen=True)
class LayerAttention:
    """Queries and keys of one layer, after the model's own normalisation, biases and scale.

    Attributes
    ----------
    q, k
        [cells, heads, tokens, d_head]; k repeated for grouped heads.
    scale
        Factor on q.k before the softmax.
    mask
        [cells, tokens] bool, True where a key is attended to.
    lse
        [cells, heads, tokens] log-sum-exp over attended keys, where the forward pass yields it.
    """

    q: torch.Tensor
    k: torch.Tensor
    scale: float
    mask: torch.Tensor
    lse: torch.Tensor | None = None


@runtime_checkable
class FoundationModel(Protocol):
    """One checkpoint, ready to run. The caller drives the layers.

    ``files``: files outside the checkpoint that decide its results; their digests join the plan.
    """

    family: str
    variants: tuple[Variant, ...]
    variant: str
    n_layers: int
    n_heads: int
    d: int
    special_kinds: tuple[str, ...]
    options: Mapping[str, Any]
    tolerances: Mapping[str, float]
    files: tuple[Path, ...]

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Tell whether the folder (or file) looks like this family's published files."""
        ...

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> FoundationModel:
        """Read published files: strict keys and shapes, no code execution, finite weights."""
        ...

    @property
    def genes(self) -> GeneTable:
        """Gene table of the gene tokens, in vocabulary order."""
        ...

    def match(self, genes: GeneTable) -> GeneMatch:
        """Match the genes of an atlas with the vocabulary."""
        ...

    def max_tokens(self, match: GeneMatch, expressed: int) -> int:
        """Upper bound of tokens per cell, special tokens included.

        ``expressed``: the most genes with a count above zero in any one cell.
        """
        ...

    def dataset_options(
        self, statistics: GeneStatistics | None, match: GeneMatch
    ) -> dict[str, Any] | None:
        """Return options that depend on the whole data set, so that batches agree with it.

        Called with None first; a family that needs statistics returns None and is called again
        with them. The result joins the options.
        """
        ...

    def tokenize(self, counts: sparse.csr_matrix, match: GeneMatch, cell_ids: np.ndarray) -> Tokens:
        """Apply the family's preprocessing to raw counts [cells, atlas genes]."""
        ...

    def embed(self, tokens: Tokens) -> torch.Tensor:
        """Return the residual stream [cells, tokens, d] that enters layer 0."""
        ...

    def layer(
        self, i: int, residual: torch.Tensor, mask: torch.Tensor
    ) -> tuple[LayerAttention, torch.Tensor]:
        """Run layer ``i``; return what it attends with and the residual stream after it.

        The query and key of a token are made of its own residual stream alone (mean cells pass a
        layer in pieces); tokens meet in the residual stream that is returned.
        """
        ...

    def output(self, residual: torch.Tensor) -> torch.Tensor:
        """Return the model's final state from the last residual stream."""
        ...


@runtime_checkable
class WeightsOnlyProjections(Protocol):
    """A family that also shows its projections without norm and biases (``weights_only``)."""

    def projections(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W_q and W_k of layer ``i``, each [heads, d_head, d]; k repeated if grouped."""
        ...


@runtime_checkable
class GeneEmbeddings(Protocol):
    """A family that gives the checkpoint's own embedding of each gene, before any cell.

    A family without this method has no list "token embeddings" in ``tables/overlap_comparators``.
    """

    def gene_embeddings(self, genes: np.ndarray) -> torch.Tensor | None:
        """Return [genes, d] what stands for the identity of genes in the input of layer 0.

        Neither value nor rank nor place in the genome is in it. ``genes``: integers, indices into
        the model's ``genes``. None: this checkpoint has none.
        """
        ...
