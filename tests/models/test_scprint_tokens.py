"""scPRINT's contexts: which genes of a cell are tokens."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from octoscope.errors import InputError
from octoscope.models import GeneStatistics, load_model
from octoscope.models.scprint_tokens import rank_genes
from octoscope.probe.dump import write_dump
from scipy import sparse

from tests.models.parity import (
    differences,
)
from tests.models.scprint_inputs import CELLS, CHECKPOINT, DUMP, GENES, SOME, atlas


@pytest.mark.parametrize("rule", ["random expr", "most expr"])
def test_contexts_of_cells_do_not_depend_on_batches(rule: str) -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT, options={"context": rule, "max_len": 20}, seed=3)
    match = model.match(genes)
    whole = model.tokenize(counts, match, ids)
    assert whole.mask.sum(1).tolist() == [28] * 6
    assert model.max_tokens(match, 10**6) == 28
    for c in range(len(ids)):
        alone = model.tokenize(counts[[c]], match, ids[[c]])
        assert (alone.row[0] == whole.row[c]).all()
        assert (np.diff(whole.row[c, 8:]) > 0).all()
    dense = match.model_counts(counts).toarray()
    for c in range(len(ids)):
        inside = dense[c, whole.row[c, 8:]]
        if (dense[c] > 0).sum() >= 20:
            assert (inside > 0).all()
        if rule == "most expr":
            assert inside.sum() == np.sort(dense[c])[-20:].sum()


def test_contexts_longer_than_expression_are_filled_up() -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT, options={"context": "random expr", "max_len": 1000})
    match = model.match(genes)
    tokens = model.tokenize(counts, match, ids)
    assert (tokens.row[:, 8:] == match.matched).all()


def test_rules_over_the_data_set_find_planted_genes() -> None:
    within, across = 3, 7
    statistics = GeneStatistics(
        cells=np.array([50, 50]),
        total=np.r_[np.full(9, 100.0), 900.0],
        mean=np.where(np.arange(10) == across, [[0.0], [3.0]], 1.0),
        variance=np.where(np.arange(10) == within, 2.0, 0.5) * np.ones((2, 1)),
    )
    assert rank_genes("most_var_within", statistics).argmax() == within
    assert rank_genes("most_var_across", statistics).argmax() == across
    assert rank_genes("most_expr_overall", statistics).argmax() == 9


def test_a_rule_over_the_data_set_is_fixed_once_and_named_genes_join() -> None:
    counts, genes, ids = atlas()
    named = GENES[5]
    options = {"context": "most expr overall", "max_len": 15, "context_genes": [named]}
    model = load_model(CHECKPOINT, options=options)
    match = model.match(genes)
    assert model.dataset_options(None, match) is None
    totals = np.asarray(counts.sum(0), float).ravel()
    flat = np.ones((1, len(genes)))
    fixed = model.dataset_options(GeneStatistics(np.array([6]), totals, flat, flat), match)
    assert fixed is not None
    assert len(fixed["context_genes"]) == 15
    assert named in fixed["context_genes"]
    model = load_model(CHECKPOINT, options=options | fixed)
    assert model.max_tokens(match, 10**6) == 23
    dense = match.model_counts(counts).toarray().sum(0)
    chosen = model.tokenize(counts, match, ids).row[0, 8:]
    others = [g for g in chosen if match.genes.ensembl[g] != named]
    assert dense[others].min() >= np.sort(dense)[-15]


def test_a_panel_is_the_context() -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT)
    match = model.match(genes).with_panel(GENES[:30])
    tokens = model.tokenize(counts, match, ids)
    inside = [g for g in GENES[:30] if g in set(genes.ensembl)]
    assert match.genes.ensembl[tokens.gene[0, 8:]].tolist() == sorted(inside)
    assert model.max_tokens(match, 10**6) == tokens.mask.shape[1] == len(inside) + 8
    full = np.log2(1 + np.asarray(counts.sum(1)).ravel())
    assert np.allclose(tokens.value[:, 0], full)  # depth still counts every gene


def test_a_cell_without_counts_in_its_context_is_left_out(tmp_path: Path) -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT, options=SOME)
    counts = counts.tolil()
    counts[2] = 0
    tokens = model.tokenize(counts.tocsr(), model.match(genes), ids)
    assert not tokens.mask[2].any()
    assert tokens.mask[[0, 1, 3, 4, 5]].all()
    a = ad.read_h5ad(CELLS)
    a.X = sparse.csr_matrix(counts)
    a.write_h5ad(tmp_path / "empty.h5ad")
    with pytest.raises(InputError, match="has no counts among the model's genes"):
        write_dump(CHECKPOINT, str(tmp_path / "empty.h5ad"), tmp_path / "x.npz", options=SOME)


def test_unusable_contexts_are_refused() -> None:
    counts, genes, ids = atlas()
    model = load_model(CHECKPOINT, options={"context": "some"})
    with pytest.raises(InputError, match="context_genes.*no genes to use"):
        model.tokenize(counts, model.match(genes), ids)
    with pytest.raises(InputError, match=r"options\.context: .*given: given"):
        load_model(CHECKPOINT, options={"context": "given"})


def test_a_long_list_of_genes_is_a_list(tmp_path: Path) -> None:
    assert len(",".join(GENES)) > 255  # longer than a file name may be
    options = {"context": "some", "context_genes": ",".join(GENES)}
    assert all(r.ok for r in differences(CHECKPOINT, DUMP, tmp_path, CELLS, options=options))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"broken.npz is not a dump"):
        load_model(CHECKPOINT, options={"context_genes": str(tmp_path / "broken.npz")})


def test_a_context_without_counts_is_defined_in_log_mode() -> None:
    counts, genes, ids = atlas()
    empty = sparse.csr_matrix(counts.shape, dtype=np.float32)
    for mode, kept in (("log", True), ("sum", False)):
        model = load_model(CHECKPOINT, options=SOME | {"normalization": mode})
        tokens = model.tokenize(empty, model.match(genes), ids)
        assert bool(tokens.mask.all()) is kept
