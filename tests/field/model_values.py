"""What torch and transformers alone compute from a changed checkpoint, beside ``attention dump``.

For cases that differ from the unchanged checkpoint on purpose. The tokens are those of the dump,
and are compared with the case's own rule where that rule is what differs.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

Arrays = Mapping[str, np.ndarray]
# What makes a case differ from the unchanged checkpoint.
DIFFERENT = {
    "g_fp16": "weights as stored, in half precision",
    "g_noact": "GELU, which a config without hidden_act stands for",
    "g_gelu": "GELU",
    "g_dictperm": "rows of that dictionary",
    "g_dictmed": "medians of that dictionary",
    "s_fp16": "weights as stored, in half precision",
    "s_bf16": "weights as stored, in bfloat16",
    "s_pert": "pert_encoder[0] is added",
    "s_padv": "<cls> has the pad_value of args.json",
    "s_heads": "the 8 heads of args.json",
}
_CLOSE = 5e-5  # largest difference allowed; the fixtures' own rounding is 2e-5


def compared(arguments: Sequence[str], unchanged: Path) -> tuple[dict[str, bool], float]:
    """Compare a dump with plain torch on the same weights.

    Parameters
    ----------
    arguments
        Of the command: ``attention``, ``dump``, the checkpoint, the cells, options.
    unchanged
        Dump of the unchanged checkpoint, made by the authors' code.

    Returns
    -------
    dict
        Name of a value -> whether it equals that of the independent reader.
    float
        Largest difference between plain torch's output and that of the unchanged checkpoint.
    """
    checkpoint, cells = Path(arguments[2]), Path(arguments[3])
    with np.load(arguments[arguments.index("--out") + 1]) as dump:
        arrays = dict(dump)
    if (checkpoint / "args.json").exists():
        hidden, attn = _scgpt(checkpoint, arrays)
        same = {"value of <cls>": _value_of_cls(checkpoint, arrays)}
    else:
        hidden, attn = _geneformer(checkpoint, arrays)
        folder = next(a for a in arguments if a.startswith("dictionaries="))
        same = {"tokens": _ranked(Path(folder.removeprefix("dictionaries=")), cells, arrays)}
    mask = arrays["mask"]
    both = mask[:, None, :, None] & mask[:, None, None, :]
    for i, values in enumerate(attn):
        same[f"attention of layer {i}"] = _near(arrays[f"attn_{i}"] * both, values * both)
    for i, values in enumerate(hidden[:-1]):
        same[f"input of layer {i}"] = _near(arrays[f"hidden_{i}"][mask], values[mask])
    same["output"] = _near(arrays["output"][mask], hidden[-1][mask])
    with np.load(unchanged) as dump:
        before, theirs = dump["output"], dump["mask"]
    return same, float(np.abs(hidden[-1] - before)[mask & theirs].max())


def _near(ours: np.ndarray, reference: np.ndarray) -> bool:
    return ours.shape == reference.shape and float(np.abs(ours - reference).max()) < _CLOSE


def _scgpt(checkpoint: Path, arrays: Arrays) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Run scGPT's layers as torch's own encoder layers, with the heads of ``args.json``."""
    args = json.loads((checkpoint / "args.json").read_text())
    state = torch.load(checkpoint / "best_model.pt", weights_only=True)
    state = {name: value.float() for name, value in state.items()}
    d = args["embsize"]

    def block(module: nn.Module, name: str) -> nn.Module:
        module.load_state_dict({n: state[f"{name}.{n}"] for n in module.state_dict()})
        return module.eval()

    row = torch.from_numpy(arrays["token_row"])
    value = torch.from_numpy(arrays["token_value"]).unsqueeze(-1).clamp(max=512)
    g = block(nn.LayerNorm(d), "encoder.enc_norm")(state["encoder.embedding.weight"][row])
    v = torch.relu(block(nn.Linear(1, d), "value_encoder.linear1")(value))
    v = block(nn.Linear(d, d), "value_encoder.linear2")(v)
    h = g + block(nn.LayerNorm(d), "value_encoder.norm")(v)
    if "pert_encoder.weight" in state:
        h = h + state["pert_encoder.weight"][0]
    pad = torch.from_numpy(~arrays["mask"])
    hidden, attn = [h.detach().numpy()], []
    for i in range(args["nlayers"]):
        layer = nn.TransformerEncoderLayer(d, args["nheads"], args["d_hid"], 0.0, batch_first=True)
        prefix = f"transformer_encoder.layers.{i}."
        own = {n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)}
        layer.load_state_dict({n.replace("Wqkv.", "in_proj_"): w for n, w in own.items()})
        layer.train()  # dropout is 0; in eval torch takes a path without weights
        with torch.no_grad():
            _, weights = layer.self_attn(h, h, h, pad, average_attn_weights=False)
            h = layer(h, src_key_padding_mask=pad)
        attn.append(weights.numpy())
        hidden.append(h.numpy())
    return hidden, attn


def _value_of_cls(checkpoint: Path, arrays: Arrays) -> bool:
    args = json.loads((checkpoint / "args.json").read_text())
    return bool((arrays["token_value"][:, 0] == args["pad_value"]).all())


def _geneformer(checkpoint: Path, arrays: Arrays) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Run BERT as transformers does, with the activation of ``config.json``."""
    from transformers import BertConfig, BertModel

    config = json.loads((checkpoint / "config.json").read_text())
    bert = BertModel(BertConfig(**config, attn_implementation="eager"), add_pooling_layer=False)
    state = load_file(checkpoint / "model.safetensors")
    weights = {n.removeprefix("bert."): w.float() for n, w in state.items() if "cls." not in n}
    bert.load_state_dict(weights, strict=True)
    with torch.no_grad():
        out = bert.eval()(
            input_ids=torch.from_numpy(arrays["token_row"]),
            attention_mask=torch.from_numpy(arrays["mask"]).long(),
            output_attentions=True,
            output_hidden_states=True,
        )
    return [h.numpy() for h in out.hidden_states], [a.numpy() for a in out.attentions]


def _ranked(dictionaries: Path, cells: Path, arrays: Arrays) -> bool:
    """Tell whether tokens are the genes by falling count / median, in the dictionary's rows."""

    def read(name: str) -> dict[str, Any]:
        # safe: the case has just written it, or the fixture holds it
        return dict(pickle.loads(next(dictionaries.glob(name)).read_bytes()))

    rows, medians = read("token_dictionary*"), read("gene_median_dictionary*")
    current = read("ensembl_mapping_dict*")
    table = ad.read_h5ad(cells).to_df()
    table.columns = [current.get(gene) for gene in table.columns]
    table = table.loc[:, table.columns.notna()].T.groupby(level=0).sum().T
    known = [gene for gene in table.columns if gene in rows and gene in medians]
    ranks = table[known] / [float(medians[gene]) for gene in known]
    for cell, tokens, mask in zip(
        arrays["cell_id"], arrays["token_row"], arrays["mask"], strict=True
    ):
        values = ranks.loc[str(cell)]
        values = values[values > 0]
        order = sorted(values.index, key=lambda gene: (-values[gene], rows[gene]))
        length = int(mask.sum()) - 2  # <cls> before, <eos> after
        expected = [rows["<cls>"], *(rows[gene] for gene in order[:length]), rows["<eos>"]]
        if tokens[mask].tolist() != expected or length not in (len(order), len(mask) - 2):
            return False
    return True
