"""Model families behind one protocol. Knows nothing of stores or Ray."""

from octoscope.models.protocol import (
    TOKEN_KINDS,
    FoundationModel,
    GeneMatch,
    GeneStatistics,
    LayerAttention,
    Tokens,
    Variant,
)
from octoscope.models.registry import checkpoint_files, families, family_of, load_model

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
