"""Ten losses and validation AUCs of napistu-torch 0.4.0 on its fixture, for tests.

    python benchmarks/make_peer_losses.py

Draws pairs as ``octoscope gnn train`` does in peer mode, then calls itself with ``--peer`` in the
peer's own environment (``peer_environment.py``). There the peer's encoder, head and loss train from
the weights of each checkpoint of the fixture with Adam, without dropout, all training edges in one
batch. After each step the peer scores the validation edges and their negatives, and scikit-learn
computes the AUC, as the peer does. Written to ``peer_losses.json`` and ``peer_areas.json`` in
``tests/data/octopus``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).parents[1] / "tests/data/octopus"
WEIGHTED = ("mlp", "distmult", "rotate")  # also with weights of relations
RATE, STEPS = 0.003, 10


def draw(file: Path) -> None:
    import numpy as np
    from octoscope.gnn.gnn_checkpoint import open_checkpoint
    from octoscope.gnn.open_graph import open_graph
    from octoscope.link_prediction.links import links_of
    from octoscope.link_prediction.negatives import draw_negatives, positives_of, with_negatives
    from octoscope.link_prediction.splits import split_links

    links = links_of(
        open_graph(FIXTURE / "store", open_checkpoint(FIXTURE / "models/distmult_edgeenc"))
    )
    split = split_links(links, "graph")
    train = split.rows("train")
    positives = positives_of(links, split, "train")
    out = {"x": links.graph.x, "index": np.stack([links.src[train], links.dst[train]]),
           "of_edges": links.graph.edge_attr[train], "of_train": links.relation[train],
           "relations": np.array(len(links.graph.relations))}  # fmt: skip
    for epoch in range(STEPS):
        negatives = draw_negatives(links, split, positives, "peer", 1, epoch)
        a, b, relation = with_negatives(positives, negatives)
        out |= {f"pairs_{epoch}": np.stack([a, b]), f"relation_{epoch}": relation}
    evaluated = positives_of(links, split, "val")
    a, b, relation = with_negatives(
        evaluated, draw_negatives(links, split, evaluated, "peer", 0, 0)
    )
    out |= {"evaluated": np.stack([a, b]), "evaluated_relation": relation,
            "evaluated_positives": np.array(len(evaluated.src))}  # fmt: skip
    np.savez(file, positives=np.array(len(positives.src)), **out)


def peer(file: Path) -> None:
    import numpy as np
    import torch
    from napistu_torch.models.edge_encoder import EdgeEncoder
    from napistu_torch.models.heads import Decoder
    from napistu_torch.models.message_passing_encoder import MessagePassingEncoder
    from napistu_torch.tasks.edge_prediction import EdgePredictionTask, get_relation_weights
    from sklearn.metrics import roc_auc_score

    torch.set_num_threads(1)
    given = {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(file).items()}
    counts = torch.bincount(given["of_train"], minlength=int(given["relations"]))
    truth = np.arange(given["evaluated"].shape[1]) < int(given["evaluated_positives"])
    losses: dict[str, list[float]] = {}
    areas: dict[str, list[float]] = {}
    for folder in sorted((FIXTURE / "models").iterdir()):
        model = json.loads((folder / "config.json").read_text())["model"]
        state = torch.load(folder / "model.ckpt", weights_only=True, map_location="cpu")
        named = state["hyper_parameters"]["model"]["head"]
        for weighted in (False, True)[: 1 + (folder.name in WEIGHTED)]:
            by = None
            if model["use_edge_encoder"]:
                by = EdgeEncoder(given["of_edges"].shape[1], model["edge_encoder_dim"])
            encoder = MessagePassingEncoder(
                given["x"].shape[1], model["hidden_channels"], model["num_layers"],
                encoder_type=model["encoder"], weight_edges_by=by,
                graph_conv_aggregator=model["graph_conv_aggregator"],
            )  # fmt: skip
            names = ("mlp_hidden_dim", "mlp_num_layers", "rotate_margin", "transe_margin",
                     "relation_emb_dim", "relation_attention_heads")  # fmt: skip
            head = Decoder(model["hidden_channels"], model["head"],
                           num_relations=named.get("num_relations"),
                           **{k: model[k] for k in names})  # fmt: skip
            task: Any = EdgePredictionTask(
                encoder, head, weight_loss_by_relation_frequency=weighted
            )
            task.load_state_dict({k.removeprefix("task."): v
                                  for k, v in state["state_dict"].items()})  # fmt: skip
            task.eval()  # no dropout
            task.using_relations = True
            task._relation_weights = get_relation_weights(counts) if weighted else None
            optimiser = torch.optim.Adam(task.parameters(), RATE)
            key = f"{folder.name}{', weighted' if weighted else ''}"
            for step in range(STEPS):
                pairs, relation = given[f"pairs_{step}"], given[f"relation_{step}"]
                n = int(given["positives"])
                loss = task.compute_loss({
                    "x": given["x"], "supervision_edges": given["index"],
                    "pos_edges": pairs[:, :n], "neg_edges": pairs[:, n:],
                    "edge_data": given["of_edges"] if by is not None else None,
                    "pos_relation_type": relation[:n], "neg_relation_type": relation[n:],
                })  # fmt: skip
                losses.setdefault(key, []).append(loss.item())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                with torch.no_grad():
                    z = task.encoder.encode(
                        given["x"], given["index"], given["of_edges"] if by is not None else None
                    )
                    scores = task._score_edges(z, given["evaluated"], given["evaluated_relation"],
                                               return_probs=True)  # fmt: skip
                areas.setdefault(key, []).append(float(roc_auc_score(truth, scores.numpy())))
    for name, figures in (("losses", losses), ("areas", areas)):
        (FIXTURE / f"peer_{name}.json").write_text(json.dumps(figures, indent=1) + "\n")


def main() -> None:
    if "--peer" in sys.argv:
        peer(Path(sys.argv[-1]))
        return
    import subprocess
    import tempfile

    from peer_environment import napistu

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.npz"
        draw(file)
        subprocess.run([str(napistu()), __file__, "--peer", str(file)], check=True)


if __name__ == "__main__":
    main()
