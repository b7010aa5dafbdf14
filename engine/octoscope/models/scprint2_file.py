"""scPRINT-2's Lightning checkpoint: which layout it has, and its weights under one set of names.

Published models keep cell and class tokens in a transformer of their own (cell-specific blocks),
which reads the genes' output and writes nothing back: only genes attend to genes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from octoscope.errors import InputError
from octoscope.models.key_prefixes import renamed, unwrapped
from octoscope.models.scprint_file import (
    ScPRINTFile,
    described,
    names_scprint,
    refuse_attention,
)
from octoscope.models.weight_files import look
from octoscope.models.weights import load_lightning

# Weights that do not enter the genes' stream, one by one; proof: test_ignored_weights.py.
HEADS = (
    "expr_decoder.",
    "splicing_head.",
    "cls_decoders.",
    "adv_assay_decoder.",
    "adv_organism_decoder.",
    "compressor.",
    "cell_transformer.",
    "cross_attention.",  # of the genes' blocks; given no cells, as in every call of the authors
    "expr_encoder.neighbors_layers.",  # without neighbours their sum is 0
    "mvc_decoder.",
    "grad_reverse_discriminator_loss.",
)
_CROSS = re.compile(r"^transformer\.blocks\.(\d+)\.(cross_attn|norm3)\.")
_V2 = "give one of scPRINT-2's checkpoints (small-v2.ckpt)"
_STYLES = {"continuous": "expr_encoder.encoder.", "metacell": "expr_encoder.self_layers."}


@dataclass(frozen=True)
class ScPRINT2File(ScPRINTFile):
    """Hyperparameters of a checkpoint, and its weights under one set of names.

    Attributes
    ----------
    style
        How a gene's value is encoded: ``continuous``, or ``metacell`` (beside neighbours).
    cell_blocks
        Cell and class tokens are outside the genes' stream.
    metacell_token
        A token before the genes says whether the cell is a metacell.
    """

    style: str
    cell_blocks: bool
    metacell_token: bool
    heads: ClassVar[tuple[str, ...]] = HEADS

    def token_tables(self) -> dict[str, tuple[int, int]]:
        """Return the tables of tokens other than genes."""
        tables = {} if self.cell_blocks else super().token_tables()
        return tables | ({"metacell_encoder.embedding.weight": (2, self.d)} if self.metacell_token
                         else {})  # fmt: skip

    def value_encoders(self) -> dict[str, tuple[int, int]]:
        """Return name -> (inputs, width) of what encodes numbers; each ends at ``d``."""
        if self.style == "continuous":
            return {"expr_encoder.encoder": (1, self.d)}
        both = 2 * self.d  # own value and neighbours
        return {
            "expr_encoder.self_layers": (1, self.d),
            "expr_encoder.shared_layers": (both, both),
        }


def own_name(name: str, cell_blocks: bool) -> str:
    """Return a weight's name here: what belongs to cells stands under the cells' parts."""
    if cell_blocks and name.startswith("class_encoder."):
        return f"cell_transformer.{name}"
    return _CROSS.sub(r"cross_attention.\1.\2.", name)


def read_file(path: Path) -> ScPRINT2File:
    """Read a checkpoint.

    Raises
    ------
    InputError
        If it is not scPRINT-2's, has a part that is not implemented, or a hyper-parameter is
        absent or cannot be used.
    """
    state, settings = load_lightning(path, finite=False)
    state = unwrapped(state, "transformer.norm.weight", where=str(path))
    if not names_scprint([*state]):
        raise InputError(str(path), f"not scPRINT-2's weights: {look(state)}", _V2)
    if any(n.startswith("depth_encoder.") for n in state):
        raise InputError(f"{path}: depth_encoder", "present: scPRINT v1", "use family scprint")
    refuse_attention(path, settings, _V2)
    for name, allowed, what in (
        ("attn_bias", (None, "none"), "a file of attention biases is not read"),
        ("rotary_emb_dim", (None, 0), "rotary positions are not implemented"),
    ):
        if settings.get(name) not in allowed:
            raise InputError(f"{path}: hyper_parameters.{name}", f"{settings[name]!r}: {what}", _V2)
    style = str(settings.get("expr_emb_style", "continuous"))
    if style not in _STYLES or not any(n.startswith(_STYLES[style]) for n in state):
        raise InputError(
            f"{path}: hyper_parameters.expr_emb_style",
            f"{style!r}; its weights begin with "
            f"{sorted({'.'.join(n.split('.')[:2]) for n in state if n.startswith('expr_enc')})}; "
            f"{' and '.join(_STYLES)} are implemented",
            _V2,
        )
    cell_blocks = any(n.startswith("cell_transformer.") for n in state)
    if bool(settings.get("cell_specific_blocks")) != cell_blocks:
        raise InputError(
            f"{path}: hyper_parameters.cell_specific_blocks",
            f"{settings.get('cell_specific_blocks')!r}, but weights of a cell transformer are "
            f"{'present' if cell_blocks else 'absent'}",
            "give weights and settings of one checkpoint",
        )
    state = renamed(state, lambda name: own_name(name, cell_blocks), where=str(path))
    return ScPRINT2File(
        **described(path, state, settings, _V2), style=style, cell_blocks=cell_blocks,
        metacell_token=any(n.startswith("metacell_encoder.") for n in state),
    )  # fmt: skip
