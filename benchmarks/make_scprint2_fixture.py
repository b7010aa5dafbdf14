"""Two small random scPRINT-2 models, and what their authors' code computes from cells.

    python make_scprint2_fixture.py CELLS.h5ad OUT_FOLDER

Needs the packages scprint2 1.0.3 and simpler-flash 1.3.5 (``pip install --no-deps``), and what
their modules import: lightning, einops, performer-pytorch, torch-geometric. Their databases,
dataloaders and figures are not needed for a forward pass; stand-ins take their place in
``sys.modules``.

CELLS: counts with Ensembl ids. Writes ``checkpoint`` with ``dump.npz`` (layout of the published
models: cell-specific blocks, expression encoder over neighbours, fine-tuned gene embeddings,
grouped heads) and ``tokens/checkpoint`` with ``tokens/dump.npz`` (class tokens among the genes, a
metacell token, continuous encoder, sums). No biology in them.
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import anndata as ad
import numpy as np
import torch

HEADS, LAYERS, CELLS, CONTEXT = 4, 2, 6, 24
HUMAN, MOUSE = "NCBITaxon:9606", "NCBITaxon:10090"
CLASSES = {"cell_type_ontology_term_id": 5, "sex_ontology_term_id": 3}
PLAIN = {"cell_specific_blocks": False, "use_metacell_token": True, "normalization": "sum",
         "expr_emb_style": "continuous", "expr_encoder_layers": 2, "num_heads_kv": HEADS,
         "finetune_gene_emb": False, "compress_class_dim": None}  # fmt: skip
PUBLISHED = {"cell_specific_blocks": True, "normalization": "log", "expr_emb_style": "metacell",
             "expr_encoder_layers": 2, "num_heads_kv": 2, "finetune_gene_emb": True,
             "d_model_cell": 8, "nhead_cell": 2, "num_heads_kv_cell": 2, "nlayers_cell": 1,
             "compress_class_dim": {"cell_type_ontology_term_id": 8,
                                    "sex_ontology_term_id": 2}}  # fmt: skip


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


def _authors_model() -> Any:
    """Import scprint2.model.model without what its package imports beside it."""
    import lightning.pytorch  # before the stand-ins: it asks which packages are there

    assert lightning.pytorch
    names = ["bionty", "scanpy", "scdataloader", "scdataloader.utils", "scprint2.utils",
             "scprint2.datasets", "scprint2.tasks", "scprint2.tasks.cell_emb",
             "scprint2.tasks.denoise", "scprint2.tasks.grn"]  # fmt: skip
    if find_spec("torchvision") is None:
        names += ["torchvision", "torchvision.ops"]
    for name in names:
        module = sys.modules[name] = _StandIn(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None), []
    if "torchvision.ops" in names:
        sys.modules["torchvision.ops"].StochasticDepth = _NoDepth  # type: ignore[attr-defined]
    spec = find_spec("simpler_flash")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parents[1] / "scprint2"
    for name, folder in (("scprint2", root), ("scprint2.model", root / "model")):
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [str(folder)]
    import scprint2.model.model as module

    return module


class _NoDepth(torch.nn.Module):
    """torchvision's StochasticDepth outside training: the identity."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return x


def _write(authors: Any, cells: ad.AnnData, out: Path, d: int, given: dict[str, Any]) -> None:
    (out / "checkpoint").mkdir(parents=True)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    names = sorted(str(g) for g in cells.var_names[:60])
    mouse = [f"ENSMUSG{i:011d}" for i in range(20)]
    positions = rng.permutation(np.arange(1, 81)).tolist()
    model = authors.scPRINT2(
        genes={MOUSE: mouse, HUMAN: names}, organisms=[HUMAN, MOUSE], d_model=d, nhead=HEADS,
        nlayers=LAYERS, classes=CLASSES, layers_cls=[6], attention="normal", **given,
    )  # fmt: skip
    model.pos_encoder = authors.encoders.PositionalEncoding(d, gene_pos_enc=positions)
    for name, value in model.named_parameters():
        norm = value.ndim == 1 and name.endswith("weight")
        value.data = torch.randn(value.shape) * 0.3 + (1 if norm else 0)
    model.eval()
    torch.save(
        {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams),
         "pytorch-lightning_version": "2.6.6"},
        out / "checkpoint/model.ckpt",
    )  # fmt: skip
    rows = np.sort(rng.choice(len(names), CONTEXT, replace=False))
    counts = cells[:CELLS, [names[i] for i in rows]].X.toarray().astype(np.float32)
    assert (counts.sum(1) > 0).all()
    ids = np.tile(rows, (CELLS, 1))
    depth = torch.from_numpy(np.asarray(cells.X[:CELLS].sum(1)).ravel())
    arrays: dict[str, np.ndarray] = {}
    entering: list[torch.Tensor] = []
    mixed: list[torch.Tensor] = []
    last: list[torch.Tensor] = []
    for block in model.transformer.blocks:
        # upstream drops probabilities at inference too: torch's function gets dropout_p as it is
        block.mixer.inner_attn.dropout = block.mixer.inner_cross_attn.dropout = 0.0
        block.norm1.register_forward_pre_hook(lambda _, x: entering.append(x[0]))
        block.mixer.out_proj.register_forward_pre_hook(lambda _, x: mixed.append(x[0]))
    model.transformer.norm.register_forward_hook(lambda *x: last.append(x[2]))
    with torch.no_grad():
        _, attended = model(
            torch.from_numpy(ids), torch.from_numpy(counts), req_depth=depth,
            get_attention_layer=list(range(LAYERS)),
        )  # fmt: skip
    for i, qkv in enumerate(attended):
        if given["num_heads_kv"] == HEADS:
            qkv = qkv.unflatten(-1, (3, HEADS, -1)) if qkv.ndim == 3 else qkv
        q, k, v = (x.transpose(1, 2).double() for x in qkv.unbind(2))
        logits = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        attn = torch.softmax(logits, -1)
        # the authors' block attends with exactly these
        context = (attn @ v).transpose(1, 2).flatten(2)
        assert torch.allclose(context.float(), mixed[i], atol=1e-5)
        arrays |= {
            f"hidden_{i}": entering[i].numpy(), f"attn_{i}": attn.float().numpy(),
            f"logits_{i}": logits.float().numpy(),
            f"lse_{i}": torch.logsumexp(logits, -1).float().numpy(),
        }  # fmt: skip
    special = [] if given["cell_specific_blocks"] else ["cell", "class", "class", "context"]
    first = len(special)
    kinds = np.array([special + ["gene"] * CONTEXT] * CELLS)
    value = np.full(kinds.shape, np.nan, np.float32)
    row = np.zeros(kinds.shape, np.int64)
    row[:, : min(first, 3)], row[:, first:] = np.arange(3)[: min(first, 3)], ids
    share = counts / counts.sum(1, keepdims=True)
    value[:, first:] = np.log2(1 + counts) if given["normalization"] == "log" else share
    gene = np.full(kinds.shape, "", "<U15")
    gene[:, first:] = np.array(names)[ids]
    meta = {
        "schema": "octoscope-dump/1", "family": "scprint2", "variant": "custom size",
        "n_layers": LAYERS, "n_heads": HEADS, "d": d, "absent": [],
        "notes": ["authors' code (scprint2 1.0.3, simpler-flash 1.3.5), CPU, eval, no neighbours"],
        "tolerances": {"attn": 2e-6, "hidden": 1e-5, "logits": 1e-5, "lse": 1e-5, "output": 1e-5},
    }  # fmt: skip
    np.savez_compressed(
        out / "dump.npz",
        cell_id=np.asarray(cells.obs_names[:CELLS], str), token_gene=gene, token_kind=kinds,
        token_value=value, token_row=row, mask=np.ones(kinds.shape, bool),
        positions=np.tile(np.arange(kinds.shape[1]), (CELLS, 1)), output=last[0].numpy(),
        meta_json=np.array(json.dumps(meta)), **arrays,
    )  # fmt: skip
    print(out, {k: v.shape for k, v in arrays.items()}, float(np.abs(last[0].numpy()).max()))


def main() -> None:
    authors = _authors_model()
    cells, out = ad.read_h5ad(sys.argv[1]), Path(sys.argv[2])
    _write(authors, cells, out, 16, PUBLISHED)
    _write(authors, cells, out / "tokens", 16, PLAIN)


if __name__ == "__main__":
    main()
