"""Model families behind one protocol. Knows nothing of stores or Ray."""

from engine.models.protocol import (
    TOKEN_KINDS,
    FoundationModel,
    GeneMatch,
    LayerAttention,
    Tokens,
)
from engine.models.registry import families, family_of, load_model

__all__ = [
    "TOKEN_KINDS",
    "FoundationModel",
    "GeneMatch",
    "LayerAttention",
    "Tokens",
    "families",
    "family_of",
    "load_model",
]
