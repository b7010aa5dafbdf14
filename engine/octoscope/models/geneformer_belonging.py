"""Geneformer's settings, and whether config, weights and dictionaries belong together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from octoscope.errors import InputError, some, warn
from octoscope.models.geneformer_files import Dictionaries
from octoscope.models.geneformer_medians import foreign_medians

# Tokens of the published dictionaries, and rows of the published checkpoints.
_SERIES = {25426: "V1", 20275: "V2"}
# Layers and d of the sizes that were published with one corpus only -> that corpus.
_CORPUS = {(12, 768): "gc104M", (18, 1152): "gc104M"}
_SAME = {"gc95M": "gc104M"}  # the published files of both names hold the same bytes
# Published token dictionaries -> corpus, and the medians of their genes; digests of the content,
# which JSON and a new pickle leave as it is.
_PUBLISHED = {
    "7f1126deac76210ffa7c679f39ea4285557716e5bc9f100da31e256b62eb0c73": (
        "gc30M", "e4d6f2282351b72491117bbf8cb19ddfde0a557af0c29eb5442418a3511c8bb2",
    ),
    "23cbceb98c49fefc3acb3cb99e02fdfca4e87299b2f78668d02f4336008ece45": (
        "gc104M", "c53bf67dafca579f3e349ec7b4b8eae0be5e3830d3a8e5c3e7b533d1bb517c6b",
    ),
}  # fmt: skip
# Settings that decide what attends to what, and their values in published configs.
_USUAL: Mapping[str, Any] = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "pruned_heads": {},
}
_OWN = (
    "give the dictionaries of the checkpoint's own series (V1: gc30M, 25,426 tokens; V2: gc104M "
    "or gc95M, 20,275 tokens)"
)


class GeneformerOptions(BaseModel):
    """Settings of Geneformer's input.

    ``convention``: null stands for V2 where the token dictionary has <cls> and <eos>.
    ``dictionaries``: folder of the pickled dictionaries; null: looked for beside the checkpoint.
    ``max_input``: tokens per cell, special tokens included; null: the config's positions.
    ``collapse_ensembl``: resolve retired ids and add up duplicates, as the authors do.
    ``special_tokens``: null stands for what the convention says.
    ``padded_table``: the embedding has more rows than the dictionary, and they are padding.
    ``n_heads``: heads of attention, where ``config.json`` is wrong or cannot be confirmed.
    ``ignored_weights``: beginnings of weights that are heads on the encoder's output.
    """

    model_config = ConfigDict(extra="forbid")

    convention: Literal["V1", "V2"] | None = None
    dictionaries: str | None = None
    max_input: int | None = Field(None, ge=3)
    collapse_ensembl: bool = True
    special_tokens: bool | None = None
    padded_table: bool = False
    n_heads: int | None = Field(None, ge=1)
    ignored_weights: list[str] = []


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Refuse settings under which BERT attends otherwise than computed here.

    Raises
    ------
    InputError
        Naming the setting.
    """
    for name, usual in _USUAL.items():
        value = config.get(name, usual)
        if (value or None) != (usual or None):
            raise InputError(
                f"{where}: {name}",
                f"{value!r}; published models have {usual!r}",
                "give a published Geneformer folder",
            )


def warn_of_activation(config: Mapping[str, Any], where: str) -> None:
    """Warn of another activation than ReLU, which is computed as the config states it.

    No published Geneformer has one; a config without it stands for the default of transformers.
    """
    activation = config.get("hidden_act")
    if activation != "relu":
        seen = "absent, which stands for 'gelu'" if activation is None else repr(activation)
        warn(f"{where}: hidden_act: {seen}; published models have 'relu'. It is computed so: "
             "compare the file with the published config.json")  # fmt: skip


def settle(given: GeneformerOptions, config: Any, dictionaries: Dictionaries) -> GeneformerOptions:
    """Fill what depends on config and dictionaries, and check that they belong together.

    Raises
    ------
    InputError
        If the dictionary has no tokens that the convention needs, or another number of tokens than
        the config has rows; if ``max_input`` is beyond the positions.
    """
    convention = given.convention or ("V2" if dictionaries.special_tokens else "V1")
    special = convention == "V2" if given.special_tokens is None else given.special_tokens
    if special and not dictionaries.special_tokens:
        raise InputError(
            "models.*.options.special_tokens",
            f"the token dictionary in {dictionaries.folder} has no <cls> and <eos>",
            "use convention V1, or the dictionaries of the second series",
        )
    _check_rows(dictionaries, config.vocab_size, padded=given.padded_table)
    _warn_of_series(dictionaries, config)
    _warn_of_order(dictionaries)
    _warn_of_medians(dictionaries)
    positions = config.max_position_embeddings
    max_input = positions if given.max_input is None else given.max_input
    if max_input > positions:
        raise InputError(
            "models.*.options.max_input",
            f"{max_input}, the checkpoint has {positions} positions",
            "lower it",
        )
    return given.model_copy(
        update={
            "convention": convention,
            "dictionaries": str(dictionaries.folder),
            "max_input": max_input,
            "special_tokens": special,
        }
    )


def _check_rows(dictionaries: Dictionaries, rows: int, *, padded: bool) -> None:
    """Require a token for every row; where ``padded``, the rows after the last may have none."""
    tokens, file = dictionaries.tokens, str(dictionaries.files[0])
    n, largest = len(tokens), max(tokens.values())
    if largest >= rows:
        raise InputError(file, f"token row {largest}, the checkpoint has {rows} rows", _OWN)
    if largest >= n:
        problem = f"{n} tokens up to row {largest}: {largest + 1 - n} rows have no token"
        raise InputError(file, problem, "give the whole dictionary")
    series = [f" ({_SERIES[x]})" if x in _SERIES else "" for x in (n, rows)]
    mixed = all(series)  # two published series, no padding
    if n != rows and (mixed or not padded):
        fix = _OWN
        if not mixed:
            fix += "; if the rows beyond are padding, set models.*.options.padded_table: true"
        problem = f"{n:,} tokens{series[0]}, vocab_size in config.json is {rows:,}{series[1]}"
        raise InputError(file, problem, fix)


def _warn_of_series(dictionaries: Dictionaries, config: Any) -> None:
    """Warn where names of files tell that they are of several corpora: sizes are the same."""
    matches = ((f.name, re.search(r"gc\d+M", f.name)) for f in dictionaries.files)
    series = {n: _SAME.get(m.group(), m.group()) for n, m in matches if m}
    folder, size = dictionaries.folder, (config.num_hidden_layers, config.hidden_size)
    if len(set(series.values())) > 1:
        several = ", ".join(sorted(series))
        warn(
            f"{folder}: dictionaries of several corpora ({several}): ranks and rows need those of "
            "one; give the files that the checkpoint was published with"
        )
    elif size in _CORPUS and series and set(series.values()) != {_CORPUS[size]}:
        warn(
            f"{folder}: {sorted(series)[0]}: a checkpoint of {size[0]} layers, d {size[1]} is "
            f"published with the dictionaries of {_CORPUS[size]}; give those"
        )


def _warn_of_order(dictionaries: Dictionaries) -> None:
    """Warn where rows are in another order than that of gene ids.

    A dictionary of other rows has as many tokens, and every gene would get another gene's row.
    """
    genes = [token for token in dictionaries.tokens if not token.startswith("<")]
    by_row = sorted(genes, key=dictionaries.tokens.__getitem__)
    if by_row != sorted(genes):
        warn(
            f"{dictionaries.files[0]}: rows are not in the order of gene ids, as in published "
            "dictionaries. Compare it with the file that the checkpoint was published with"
        )


def _digest(table: Mapping[str, float]) -> str:
    """Return the digest of a dictionary's content, in the order of its keys."""
    text = "\n".join(f"{key}\t{value!r}" for key, value in sorted(table.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _warn_of_medians(dictionaries: Dictionaries) -> None:
    """Warn where medians are of another corpus than tokens, as far as that can be known.

    Every gene of a published token dictionary has a median in the dictionary of its own corpus.
    """
    tokens, medians = dictionaries.tokens, dictionaries.medians
    genes = [t for t in tokens if not t.startswith("<")]
    lacking = [g for g in genes if g not in medians]
    file = next((f for f in dictionaries.files if "median" in f.name), dictionaries.folder)
    corpus, digest = _PUBLISHED.get(_digest(tokens), (None, None))
    if lacking:
        warn(
            f"{file}: {len(lacking):,} of {len(genes):,} genes with a token have no median "
            f"({some(lacking, 3)}) and are left out; the medians are of another corpus than the "
            "tokens"
        )
    elif digest and _digest({g: medians[g] for g in genes}) != digest:
        warn(
            f"{file}: not the medians that were published with these tokens ({corpus}). Ranks "
            "follow the medians: give the published file, unless the model was trained with these"
        )
    elif not digest and genes:
        _warn_of_foreign(file, {g: medians[g] for g in genes})


def _warn_of_foreign(file: Path, medians: Mapping[str, float]) -> None:
    """Warn of medians of a part of the published genes that no published corpus has.

    A file that is named after another corpus says itself that it is of its own.
    """
    named = re.sub(r"^gene_median_dictionary_?", "", file.stem)
    claim = _SAME.get(named, named)
    if claim and not re.fullmatch(r"gc\d+M", claim):
        return
    corpus, foreign = foreign_medians(medians.items())
    if foreign:
        warn(
            f"{file}: at least {len(foreign):,} of {len(medians):,} medians are not those "
            f"published for {claim or corpus} ({some(foreign, 3)}). Ranks follow the medians: give "
            "the published file; if the model was trained with these, name the file after its own "
            "corpus (gene_median_dictionary_CORPUS)"
        )
    elif claim and claim != corpus:
        warn(f"{file}: named {named}, and holds the medians of {corpus}; give those of the "
             "checkpoint's own corpus")  # fmt: skip


def check_buffers(state: MutableMapping[str, torch.Tensor], where: str) -> None:
    """Take out what older files store of the input, if it is the input used here.

    Releases of transformers that store ``position_ids`` and ``token_type_ids`` also use them.

    Raises
    ------
    InputError
        If positions are not 0, 1, 2, ..., or a token type is not 0.
    """
    ids = state.pop("embeddings.position_ids", None)
    if ids is not None and not torch.equal(ids.flatten().long(), torch.arange(ids.numel())):
        raise InputError(
            f"{where}: embeddings.position_ids",
            f"begins {ids.flatten()[:4].tolist()}, expected 0, 1, 2, ...",
            "give a published Geneformer folder",
        )
    types = state.pop("embeddings.token_type_ids", None)
    if types is not None and bool(types.any()):
        raise InputError(
            f"{where}: embeddings.token_type_ids",
            "other than 0",
            "give a published Geneformer folder",
        )
