"""Settings of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from octoscope.config import read_yaml, validated
from octoscope.config.types import Section


class TrainConfig(Section, frozen=True):
    """What to train, and how long.

    Attributes
    ----------
    encoder, head
        Kinds as in a checkpoint; see docs/gnn.md.
    layers, width
        Of the encoder; the width is that of an embedding.
    aggregator
        ``mean`` or ``add``; ignored by ``gcn``.
    directed
        Messages along edges and against them pass through weights of their own; not of ``gcn``.
    edge_encoder
        Hidden units of the edge encoder, which weighs each edge by its features; 0: no edge
        encoder. ``sage`` has none.
    hidden, relation_width, attention_heads
        Of heads that have them.
    dropout
        Share of the outputs of a layer, and of the edge encoder's hidden units, that is dropped in
        training.
    epochs
        At most; each is one step on all edges to learn from.
    learning_rate
        The highest of the schedule.
    schedule
        ``one-cycle``, or ``constant``.
    weight_decay
        Of Adam.
    negatives
        ``degree``, ``stratified``, ``uniform``, ``two-hop``, ``peer``; drawn anew each epoch.
    learned
        Share of the training pairs that are learned from and carry no messages.
    relation_weight
        An edge's loss is weighted by 1 / (edges of its relation) to this power.
    signs
        Weight of the loss of signs: the best score as a stimulator against the best as an
        inhibitor; 0: signs are not learned. Not in peer mode. The AUC of signs is then part of what
        early stopping reads.
    margin
        Of the distances of TransE, RotatE and conditional RotatE, as a share of the largest; in
        peer mode a distance.
    peer
        Losses of napistu-torch 0.4.0, and its training edges: each carries messages and is learned
        from, so it vouches for itself; ``learned`` is not read.
    validate_every
        Epochs between two validations; the state is saved at each.
    patience
        Validations without a better relation-weighted AUC after which training ends.
    validation
        At most so many validation edges.
    seed
        Of weights, dropout and negatives.
    initial
        Checkpoint whose encoder the training starts from.
    initial_head
        Start from its head, too.
    freeze_encoder
        Leave the encoder as it is; needs ``initial``.
    """

    encoder: Literal["graph_conv", "sage", "gcn"] = "sage"
    head: Literal[
        "dot_product", "attention", "mlp", "distmult", "transe", "rotate", "conditional_rotate",
        "relation_attention", "relation_attention_mlp", "relation_gated_mlp",
    ] = "relation_gated_mlp"  # fmt: skip
    layers: int = Field(2, ge=1, le=20)
    width: int = Field(64, ge=2, le=4096)
    aggregator: Literal["mean", "add"] = "mean"
    directed: bool = False
    edge_encoder: int = Field(0, ge=0, le=4096)
    hidden: int = Field(64, ge=1, le=4096)
    relation_width: int = Field(16, ge=1, le=4096)
    attention_heads: int = Field(4, ge=1, le=64)
    dropout: float = Field(0.1, ge=0, lt=1)
    epochs: int = Field(300, ge=1, le=10**7)
    learning_rate: float = Field(0.005, gt=0, le=1000)
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    weight_decay: float = Field(1e-5, ge=0, le=1000)
    negatives: Literal["degree", "stratified", "uniform", "two-hop", "peer"] = "degree"
    learned: float = Field(0.3, gt=0, lt=1)
    relation_weight: float = Field(0.5, ge=0, le=1)
    signs: float = Field(0.0, ge=0, le=1000)
    margin: float = Field(0.3, gt=0, le=1)
    peer: bool = False
    validate_every: int = Field(10, ge=1, le=10**7)
    patience: int = Field(10, ge=1, le=10**7)
    validation: int = Field(20_000, ge=10, le=10**9)
    seed: int = Field(0, ge=0, lt=2**63)
    initial: Path | None = None
    initial_head: bool = False
    freeze_encoder: bool = False

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.width % 2 and "rotate" in self.head:
            raise ValueError("width must be even: half of it is the imaginary part of RotatE")
        if self.hidden % self.attention_heads and self.head.startswith("relation_attention"):
            raise ValueError("attention_heads must divide hidden")
        if self.directed and self.encoder == "gcn":
            raise ValueError("directed needs encoder sage or graph_conv: gcn has no direction")
        if self.edge_encoder and self.encoder == "sage":
            raise ValueError("edge_encoder needs encoder graph_conv or gcn: sage has no weights")
        if self.signs and (self.peer or self.head == "conditional_rotate"):
            raise ValueError("signs are learned neither in peer mode nor by conditional_rotate")
        if (self.freeze_encoder or self.initial_head) and self.initial is None:
            raise ValueError("freeze_encoder and initial_head need initial")
        return self


def load_train_config(path: str | Path) -> TrainConfig:
    """Read a YAML file of settings; what it does not name has its default.

    Raises
    ------
    InputError
        If the file cannot be read, or a setting is unknown or out of its bounds.
    """
    return validated(TrainConfig, read_yaml(Path(path)) or {}, str(path), "see docs/gnn.md")
