"""A list of genes that a configuration gives as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from octoscope.bounded_reads import read_bounded
from octoscope.config.types import Location


class GeneFile(BaseModel):
    """Where the list is."""

    model_config = ConfigDict(extra="forbid")
    file: Location


def read_genes(value: Any) -> Any:
    """Return the names in ``{file: PATH}``; anything else as it is.

    Raises
    ------
    ValueError
        If the file cannot be read as text, or holds no name or a line of several.
    """
    if not isinstance(value, dict):
        return value
    path = GeneFile.model_validate(value).file
    try:
        text = read_bounded(Path(path)).decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no UTF-8 text; give one gene on each line") from None
    lines = [(n, line.partition("#")[0].strip()) for n, line in enumerate(text.splitlines(), 1)]
    names = [(n, name) for n, name in lines if name]
    for n, name in names:
        if len(name.split()) > 1 or "," in name:
            raise ValueError(f"{path}, line {n} holds {name[:60]!r}; give one gene on each line")
    if not names:
        raise ValueError(f"{path} holds no gene; give one on each line")
    return [name for _, name in names]


GENE_FILE = BeforeValidator(read_genes, json_schema_input_type=list[str] | GeneFile | None)
