"""Model families behind one protocol. Knows nothing of stores or Ray."""

from octoscope.models.families import checkpoint_files, families, family_of, load_model
from octoscope.models.protocol import (
    TOKEN_KINDS,
    FoundationModel,
    GeneMatch,
    GeneStatistics,
    LayerAttention,
    Tokens,
    Variant,
)

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
