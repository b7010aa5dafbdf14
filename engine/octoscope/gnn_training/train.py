"""Trains a model on the links of a graph; stops early; goes on where it was stopped."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from octoscope.errors import InputError
from octoscope.gnn.directed_encoder import any_encoder_of
from octoscope.gnn.gnn_checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from octoscope.gnn.graph import SPLITS, GnnGraph
from octoscope.gnn.head_weights import head_of
from octoscope.gnn.structural_features import LEARNED, message_edges
from octoscope.gnn_training.peer_losses import peer_loss, peer_weights
from octoscope.gnn_training.sign_loss import sign_logits, sign_loss, stated_signs
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.gnn_training.train_state import (
    CHECKPOINT,
    HISTORY,
    TrainState,
    load_state,
    require_own,
    save_state,
)
from octoscope.gnn_training.trained_model import DISTANCES, Model, loss_of
from octoscope.gnn_training.training_edges import TrainingEdges, training_edges
from octoscope.json_values import hash_json, to_json
from octoscope.link_prediction.checkpoint_scores import knows_signs
from octoscope.link_prediction.link_metrics import auc, relation_weighted
from octoscope.link_prediction.links import Links, links_of
from octoscope.link_prediction.negatives import (
    Positives,
    Trained,
    draw_negatives,
    positives_of,
    with_negatives,
)
from octoscope.link_prediction.splits import Split
from octoscope.output_files import new_file

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Pairs:
    """Edges and their negatives, edges first."""

    src: torch.Tensor
    dst: torch.Tensor
    relation: torch.Tensor
    of: torch.Tensor
    positives: int

    def edges(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return [positives] source, target and relation of the edges."""
        n = self.positives
        return self.src[:n], self.dst[:n], self.relation[:n]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what torch says of its sparse tensors whenever torch-geometric makes one."""
    with warnings.catch_warnings():
        for text in ("Sparse invariant checks", "Sparse CS"):
            warnings.filterwarnings("ignore", message=text)
        yield


@_quiet()
def train(
    graph: GnnGraph, config: TrainConfig, folder: str | Path, say: Say = lambda _: None
) -> Path:
    """Train, or go on with a training, and write its best checkpoint.

    An epoch is one step. It learns from the share ``config.learned`` of the training pairs; the
    other ones carry messages. At a validation all training edges carry messages, as when the
    checkpoint is evaluated. A training that was stopped at any moment gives the same numbers as one
    that was not.

    Parameters
    ----------
    graph
        With a split; see :func:`octoscope.gnn.structural_features.with_structure`.
    folder
        New, or of a training with the same settings and graph.
    say
        Is given a line per validation.

    Returns
    -------
    Path
        The checkpoint's folder, ``folder/checkpoint``.

    Raises
    ------
    InputError
        If the graph has no split or no relations for a head that needs them, its features know the
        edges that would be learned from, the folder is of another training or no folder, or a loss
        is not finite.
    """
    target = Path(folder)
    require_own(target)
    _require_fit(graph, config)
    belongs = hash_json([config.model_dump(mode="json"), graph.digests])
    links = links_of(graph)
    in_training = np.asarray(graph.split) == SPLITS.index("train")
    stated = Split("graph", np.asarray(graph.split, np.uint8), {}, belongs)
    if config.peer:
        passing, learning = in_training, stated
        positives = positives_of(links, stated, "train")
    else:
        passing = message_edges(graph, config.learned)
        divided = np.where(passing, 1, np.where(in_training, 2, 0)).astype(np.uint8)
        learning = Split("learned", divided, {}, belongs)
        positives = positives_of(links, learning, "val")
    evaluated = positives_of(links, stated, "val", config.validation)
    for name, part in (("to learn from", positives), ("of validation", evaluated)):
        if not len(part.src):
            raise InputError(graph.made_from, f"has no edge {name}", "give another split")
    validation = _pairs(links, stated, evaluated, config.negatives, 0, 0)

    torch.manual_seed(config.seed)
    x = torch.from_numpy(np.array(graph.x, np.float32))
    n_edge_features = 0 if graph.edge_attr is None else graph.edge_attr.shape[1]
    model = Model(config, x.shape[1], graph.relations, n_edge_features)
    _start_from(model, config)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learned, config.learning_rate, weight_decay=config.weight_decay)
    schedule = _schedule(optimiser, config)
    state = load_state(target, model, optimiser, schedule, belongs)
    if state is None:
        state = TrainState(0, [], {}, -1.0, 0)
    else:
        say(f"goes on after epoch {state.epoch}")
    messages, everything = (training_edges(links, rows, config)
                            for rows in (passing, in_training))  # fmt: skip
    weight = _weights(positives, config.relation_weight)
    if config.peer:
        of_edges = links.relation[in_training]
        weight = peer_weights(of_edges, len(graph.relations), config.relation_weight)
    trained = Trained.of(links, learning)
    while not _ended(state, config):
        drawn = _pairs(links, learning, positives, config.negatives, config.seed + 1, state.epoch,
                       trained)  # fmt: skip
        loss = _step(model, x, messages, drawn, weight, config)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        state.epoch += 1
        if state.epoch % config.validate_every == 0 or state.epoch == config.epochs:
            _validate(model, x, everything, validation, state, loss.item(), schedule, say, config)
            save_state(target, state, model, optimiser, schedule, belongs)
    return _finish(target, graph, model, config, state)


def _schedule(optimiser: torch.optim.Optimizer, config: TrainConfig) -> Any:
    if config.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.epochs
    )


def _require_fit(graph: GnnGraph, config: TrainConfig) -> None:
    if graph.split is None:
        raise InputError(graph.made_from, "states no split", "give a graph that does")
    knows = any(name.startswith("source coordinate") for name in graph.vertex_features)
    if knows and config.peer:
        raise InputError("peer", "learns from edges that the features of vertices know",
                         "give a graph without --structure")  # fmt: skip
    if knows and config.learned > LEARNED:
        raise InputError("learned", f"is {config.learned}, features know all but {LEARNED} of the "
                         "training pairs", f"give at most {LEARNED}")  # fmt: skip
    if config.edge_encoder and graph.edge_attr is None:
        raise InputError("edge_encoder", f"needs features of edges, {graph.made_from} has none",
                         "set it to 0")  # fmt: skip
    relational = config.head not in ("dot_product", "attention", "mlp")
    if relational and not graph.relations:
        raise InputError(f"head {config.head}", f"needs relations, {graph.made_from} has none",
                         "take dot_product, attention or mlp")  # fmt: skip
    if config.signs and not (relational and knows_signs(graph.relations)):
        raise InputError("signs", "need a head with relations, and relations of stimulators and of "
                         "inhibitors", "set signs to 0")  # fmt: skip


def _pairs(
    links: Links, split: Split, positives: Positives, how: str, seed: int, epoch: int,
    trained: Trained | None = None,
) -> _Pairs:  # fmt: skip
    negatives = draw_negatives(links, split, positives, how, seed, epoch, trained)
    pairs = with_negatives(positives, negatives)
    a, b, r, of = (torch.from_numpy(v) for v in (*pairs, negatives.of))
    return _Pairs(a, b, r, of, len(positives.src))


def _weights(positives: Positives, power: float) -> torch.Tensor:
    """Return [positives] float32: 1 / count of the relation to a power, 1 on average."""
    count = np.bincount(positives.relation)[positives.relation].astype(float)
    weight = count**-power
    return torch.from_numpy((weight / weight.mean()).astype(np.float32))


def _raw(
    model: Model, x: torch.Tensor, edges: TrainingEdges, pairs: _Pairs
) -> tuple[Any, Any, torch.Tensor]:
    head = model.scorer()
    of = head.vertices(model.encoder(x, edges))
    return head, of, head.raw(of, pairs.src, pairs.dst, pairs.relation)


def _step(
    model: Model, x: torch.Tensor, edges: TrainingEdges, pairs: _Pairs, weight: torch.Tensor,
    config: TrainConfig,
) -> torch.Tensor:  # fmt: skip
    model.train()
    head, of, raw = _raw(model, x, edges, pairs)
    if config.peer:
        margin = config.margin if head.kind in DISTANCES else None
        of_pairs = weight[pairs.relation] if config.relation_weight else None
        loss = peer_loss(raw, pairs.of, of_pairs, margin)
    else:
        loss = loss_of(head, raw, pairs.of, weight, config.margin, pairs.relation)
    if config.signs:
        a, b, r = pairs.edges()
        loss = loss + config.signs * sign_loss(head, of, a, b, r, model.relations)
    if not torch.isfinite(loss):
        raise InputError("learning_rate", f"of {config.learning_rate} gives a loss of "
                         f"{loss.item()}", "give a smaller one")  # fmt: skip
    return loss


@torch.no_grad()
def _validate(
    model: Model, x: torch.Tensor, edges: TrainingEdges, pairs: _Pairs, state: TrainState,
    loss: float, schedule: Any, say: Say, config: TrainConfig,
) -> None:  # fmt: skip
    model.eval()
    head, of, raw = _raw(model, x, edges, pairs)
    score = raw.numpy().astype(float)
    truth = np.arange(len(score)) < pairs.positives
    area = auc(score, truth).value
    weighted = relation_weighted(score, truth, pairs.relation.numpy()).value
    row = {"epoch": state.epoch, "loss": loss, "learning_rate": schedule.get_last_lr()[0],
           "auc": area, "relation_weighted_auc": weighted}  # fmt: skip
    text = f"epoch {state.epoch}: loss {loss:.4f}, AUC {area:.4f}, by relation {weighted:.4f}"
    value = weighted
    if config.signs:
        row["sign_auc"] = _sign_area(model, head, of, pairs)
        value = (weighted + config.signs * row["sign_auc"]) / (1 + config.signs)
        text += f", of signs {row['sign_auc']:.4f}"
    if value > state.best_value:
        state.best, state.best_value = model.checkpoint_weights(), value
        state.best_epoch = state.epoch
    state.history.append(row)
    say(text)


def _sign_area(model: Model, head: Any, of: Any, pairs: _Pairs) -> float:
    """Return the AUC of the signs of edges, 0.5 where one of the two signs is missing."""
    src, dst, relation = pairs.edges()
    up, down = stated_signs(relation, model.relations)
    if not up.any() or not down.any():
        return 0.5
    signed = up | down
    score = sign_logits(head, of, src[signed], dst[signed], model.relations).numpy().astype(float)
    return auc(score, up[signed].numpy()).value


def _ended(state: TrainState, config: TrainConfig) -> bool:
    late = [row for row in state.history if row["epoch"] > state.best_epoch]
    return state.epoch >= config.epochs or len(late) >= config.patience


def _start_from(model: Model, config: TrainConfig) -> None:
    """Copy the encoder, and with ``initial_head`` the head, of another checkpoint."""
    if config.initial is None:
        return
    try:
        model.take(open_checkpoint(config.initial).weights, head=config.initial_head)
    except (RuntimeError, KeyError) as error:
        what = "encoder or head" if config.initial_head else "encoder"
        problem = f"has another {what} ({' '.join(str(error).split())[:200]})"
        raise InputError(str(config.initial), problem, "take its encoder, head and sizes"
                         ) from None  # fmt: skip
    if config.freeze_encoder:
        model.encoder.requires_grad_(requires_grad=False)


def _best(state: TrainState) -> dict[str, float]:
    rows = (row for row in state.history if row["epoch"] == state.best_epoch)
    return {k: v for row in rows for k, v in row.items() if k.endswith("auc") and k != "auc"}


def _finish(
    folder: Path, graph: GnnGraph, model: Model, config: TrainConfig, state: TrainState
) -> Path:
    target = folder / CHECKPOINT
    if target.exists():
        return target
    settings = model.settings()
    parts = {p: {k.removeprefix(f"{p}.").removeprefix("head."): v for k, v in state.best.items()
                 if k.startswith(f"{p}.")} for p in ("encoder", "head")}  # fmt: skip
    encoder = any_encoder_of(parts["encoder"], settings["encoder"], str(target))
    head = head_of(parts["head"], settings["head"], config.width, str(target))
    data = {
        "name": graph.made_from, "num_nodes": graph.n_vertices, "num_edges": len(graph.src),
        **({"relations": list(graph.relations)} if head.n_relations else {}),
        **{f"{s}_mask_hash": graph.mask_digest(s) for s in SPLITS[1:]},
    }  # fmt: skip
    checkpoint = Checkpoint(encoder, head, graph.relations, data, "", target, settings, state.best)
    with new_file(folder / HISTORY, force=True) as file:
        file.write_bytes(to_json({
            "settings": config.model_dump(mode="json"), "epochs": state.epoch,
            "best_epoch": state.best_epoch, **_best(state),
            "history": state.history,
        }))  # fmt: skip
    write_checkpoint(checkpoint, target, graph.digests)
    return target
