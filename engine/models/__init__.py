"""Model families behind one protocol. Knows nothing of stores or Ray."""

from engine.models.protocol import (
    TOKEN_KINDS,
    FoundationModel,
    GeneMatch,
    GeneStatistics,
    LayerAttention,
    Tokens,
    Variant,
)
from engine.models.registry import checkpoint_files, families, family_of, load_model

__all__ = [
    "TOKEN_KINDS",
    "FoundationModel",
    "GeneMatch",
    "GeneStatistics",
    "LayerAttention",
    "Tokens",
    "Variant",
    "checkpoint_files",
    "families",
    "family_of",
    "load_model",
]
