"""Train the scPRINT demonstration checkpoint: masked expression on the embedded cells.

    python scripts/train_demo_scprint.py

Seeded; minutes on two cores. The architecture is the engine's own (`octoscope.models.scprint`), the
file is a Lightning checkpoint in the published layout (1.x names), with `normalization: log`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from demo_training import CHECKPOINTS, HELD_OUT, choose_genes, demo_cells, fit, initial, split
from octoscope.models import Tokens
from octoscope.models.scprint import ScPRINT
from octoscope.models.scprint_file import ScPRINTFile

OUT = CHECKPOINTS / "scprint-demo"
SEED, STEPS, BATCH, MASKED, GENES = 20261124, 800, 24, 0.4, 320
D, HEADS, LAYERS = 64, 4, 3
CELL_TYPE = "cell_type_ontology_term_id"
CLASSES = {
    CELL_TYPE: 4, "disease_ontology_term_id": 1, "assay_ontology_term_id": 1,
    "self_reported_ethnicity_ontology_term_id": 1, "sex_ontology_term_id": 1,
    "organism_ontology_term_id": 1,
}  # fmt: skip
HEAD = {
    "expr_decoder.fc.0.weight": (D, D), "expr_decoder.fc.0.bias": (D,),
    "expr_decoder.fc.1.weight": (D,), "expr_decoder.fc.1.bias": (D,),
    "expr_decoder.fc.4.weight": (D, D), "expr_decoder.fc.4.bias": (D,),
    "expr_decoder.fc.5.weight": (D,), "expr_decoder.fc.5.bias": (D,),
    "expr_decoder.pred_var_zero.weight": (3, D), "expr_decoder.pred_var_zero.bias": (3,),
    f"cls_decoders.{CELL_TYPE}.out_layer.weight": (4, D),
    f"cls_decoders.{CELL_TYPE}.out_layer.bias": (4,),
}  # fmt: skip


def encoder_shapes(n_genes: int) -> dict[str, tuple[int, ...]]:
    empty = torch.zeros(0)
    marks = {f"{n}_encoder.encoder.4.weight": empty for n in ("expr", "depth")}
    file = ScPRINTFile(
        OUT, marks, "1.x", [""] * n_genes, list(CLASSES), "log", LAYERS, HEADS, HEADS, D
    )
    return file.expected_shapes()


def write(
    weights: dict[str, torch.Tensor], head: dict[str, torch.Tensor], genes: list[str],
    labels: list[str], steps: int, notes: str,
) -> None:  # fmt: skip
    OUT.mkdir(parents=True, exist_ok=True)
    state = {n: v.detach().clone() for n, v in {**weights, **head}.items()}
    state["gene_encoder.embedding.weight"] = state.pop("gene_encoder.weight")
    settings = {
        "genes": genes, "organisms": ["NCBITaxon:9606"], "gene_pos_enc": None,
        "normalization": "log", "d_model": D, "nhead": HEADS, "nlayers": LAYERS,
        "expr_encoder_layers": 2, "layers_cls": [], "classes": CLASSES,
        "label_decoders": {CELL_TYPE: dict(enumerate(labels))}, "labels_hierarchy": {},
        "transformer": "flash", "precpt_gene_emb": None, "num_heads_kv": None, "zinb": True,
        "mvc_decoder": None, "prenorm": True, "residual_in_fp32": True,
    }  # fmt: skip
    checkpoint = {
        "epoch": 0, "global_step": steps, "pytorch-lightning_version": "2.5.0",
        "state_dict": state, "loops": {}, "callbacks": {}, "optimizer_states": [],
        "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": settings,
    }  # fmt: skip
    torch.save(checkpoint, OUT / "model.ckpt")
    (OUT / "DEMONSTRATION.md").write_text(notes)


def main() -> None:
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    atlas, batch = demo_cells()
    genes = sorted(str(g) for g in atlas.genes.ensembl[choose_genes(atlas, batch.counts.toarray())])
    types = atlas.column("cell_type", "cell_type").astype(str).to_numpy()
    labels = sorted(set(types))
    label = torch.tensor([labels.index(t) for t in types])
    head = initial(HEAD, SEED + 1)
    write(initial(encoder_shapes(len(genes)), SEED), head, genes, labels, 0, "untrained\n")
    options = {"context": "some", "context_genes": genes}
    model = ScPRINT.load(OUT, device=torch.device("cpu"), options=options)
    tokens = model.tokenize(batch.counts, model.match(atlas.genes), batch.cell_ids)
    first = len(CLASSES) + 2
    weights = model._w
    for tensor in (*weights.values(), *head.values()):
        tensor.requires_grad_(True)

    def predict(h: torch.Tensor) -> torch.Tensor:
        p = "expr_decoder.fc."
        for a, b in (("0", "1"), ("4", "5")):
            h = F.linear(h, head[f"{p}{a}.weight"], head[f"{p}{a}.bias"])
            h = F.leaky_relu(F.layer_norm(h, (D,), head[f"{p}{b}.weight"], head[f"{p}{b}.bias"]))
        p = "expr_decoder.pred_var_zero."
        return F.linear(h, head[p + "weight"], head[p + "bias"])[..., 0]

    def loss_of(cells: np.ndarray, *, classify: bool = True) -> torch.Tensor:
        at = np.r_[np.arange(first), first + np.sort(rng.permutation(len(genes))[:GENES])]
        grid = np.ix_(cells, at)
        masked = Tokens(
            batch.cell_ids[cells], tokens.gene[grid], tokens.kind[grid], tokens.value[grid],
            tokens.row[grid], tokens.mask[grid],
        )  # fmt: skip
        hidden = torch.from_numpy(rng.random((len(cells), len(at))) < MASKED)
        hidden[:, :first] = False
        # a masked gene keeps its identity and loses its expression, as upstream's mask does
        row = torch.from_numpy(masked.row).clamp(min=0)
        names = F.embedding(row, weights["gene_encoder.weight"])
        h, mask = (
            torch.where(hidden[..., None], names, model.embed(masked)),
            torch.from_numpy(masked.mask),
        )
        for i in range(model.n_layers):
            _, h = model.layer(i, h, mask)
        h = model.output(h)
        value = torch.from_numpy(masked.value)
        loss = F.mse_loss(predict(h)[hidden], value[hidden])
        if classify and torch.is_grad_enabled():
            p = f"cls_decoders.{CELL_TYPE}.out_layer."
            guess = F.linear(h[:, 2], head[p + "weight"], head[p + "bias"])
            loss = loss + 0.2 * F.cross_entropy(guess, label[torch.from_numpy(cells)])
        return loss

    train, held_out = split(len(batch.cell_ids), rng)
    check = fit(
        [*weights.values(), *head.values()], loss_of, train, held_out, rng,
        steps=STEPS, batch=BATCH,
    )  # fmt: skip
    value = tokens.value[:, first:]
    baseline = ((value[held_out] - value[train].mean(0)) ** 2).mean()
    notes = (
        "# Demonstration checkpoint\n\n"
        f"scPRINT's architecture and file layout, {LAYERS} layers, {HEADS} heads, d = {D}, "
        f"{len(genes)} genes, trained by `scripts/train_demo_scprint.py` (seed {SEED}, {STEPS} "
        f"steps of masked expression and cell type, contexts of {GENES} genes) on the 559 embedded "
        f"cells.\n\nHeld-out cells ({HELD_OUT}): mean squared error of masked log2(1 + count) is "
        f"{check:.3f}; predicting each gene's training mean gives {baseline:.3f}.\n\n"
        "It shows that the engine works. It is not scPRINT, and its attention is no evidence about "
        "scPRINT or about biology.\n"
    )
    write(weights, head, genes, labels, STEPS, notes)
    ScPRINT.load(OUT, device=torch.device("cpu"))
    print(f"wrote {OUT.name}: held out {check:.4f}, gene means {baseline:.4f}")


if __name__ == "__main__":
    main()
