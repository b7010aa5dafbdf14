"""What pandas, or the few rows of a case themselves, say of a network that was built.

Every ordered pair of the 40 invented genes is looked up. The edges, their signs and scores must be
those of the source's file, read here by pandas without a line of the engine's readers.
"""

from __future__ import annotations

import gzip
import io
import itertools
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

Run = Callable[..., Any]
# (first gene, second gene) -> sign, score (None: not compared) of the edge in that order
Edges = dict[tuple[int, int], tuple[int, float | None]]

_GENES = [f"ENSG00000990{i:03d}" for i in range(40)]
_SYMBOL = {f"GNX{i:02d}": i for i in range(40)}
_PROTEIN = {f"9606.ENSP00000990{i:03d}": i for i in range(40)}
_FORWARD = {"->": 1, "<->": 1, "|->": 1, "-|": -1, "|-|": -1, "<-|": -1, "-": 0}
_BACK = {"<-": 1, "<->": 1, "<-|": 1, "|-": -1, "|-|": -1, "|->": -1, "-": 0}


def _both(*pairs: tuple[int, int]) -> Edges:
    return {p: (0, None) for i, j in pairs for p in ((i, j), (j, i))}


_PLAIN: Edges = {(0, 1): (0, None)}
_SIGNED: Edges = {(0, 1): (1, None)}
_TWO_SIGNS: Edges = {(0, 1): (1, None), (2, 3): (-1, None)}
# What the rows of a list state, by the name of its case: the scripts write one to five rows.
_LISTS: dict[str, Edges] = {
    "collectri": _TWO_SIGNS | {(4, 5): (1, None)},
    "dorothea": _TWO_SIGNS,
    "floatsign": _TWO_SIGNS,
    "plussign": _TWO_SIGNS,
    "plus": _TWO_SIGNS,
    "sign2": _TWO_SIGNS,
    "huri": {(0, 1): (0, None), (2, 3): (0, None)},
    "huri_head": _both((0, 1), (2, 3)),  # without order, a gene with itself is no pair
    "ppi_nodir": _PLAIN,
    "dups": {(0, 1): (0, 0.9), (5, 5): (1, 0.5)},
    "entrez": {(0, 1): (0, None), (2, 3): (0, None)},
    "iso": {(0, 1): (0, None), (2, 3): (0, None)},
    "ensp": {(0, 1): (0, None), (2, 3): (0, None)},
    "quoted_csv": _SIGNED,
    "quoted_tsv": _SIGNED,
    "semicolon_csv": _SIGNED,
    "upper": _PLAIN,
    "txt_csv": _PLAIN,
    "latin1": _PLAIN,
    "NAgene": _PLAIN,
    "xlsdates": _PLAIN,
}
_ANNOTATED: Edges = {(0, 1): (0, None), (2, 3): (0, None)}  # the list of every annotation


def compared(arguments: Sequence[str], run: Run) -> dict[str, bool]:
    """Compare a network that was built with its files.

    Parameters
    ----------
    arguments
        Of the command: ``octopus``, ``build``, the configuration, the network.
    run
        Runs ``octoscope``.

    Returns
    -------
    dict
        Name of a value -> whether it equals that of the independent reader.
    """
    config, network = Path(arguments[2]), Path(arguments[3])
    expected = _expected(config, network)
    frame = _every_pair(network, run)
    edges = frame[frame["forward"].eq(True)]
    answered = {
        (int(q[-3:]), int(k[-3:])): (sign, score)
        for q, k, sign, score in edges[["query", "key", "sign", "score"]].itertuples(index=False)
    }
    same = {"edges": set(answered) == set(expected)}
    same["signs"] = all(
        (0 if pd.isna(answered[p][0]) else int(answered[p][0])) == s
        for p, (s, _) in expected.items()
        if p in answered
    )
    if scored := {p: v for p, (_, v) in expected.items() if v is not None and p in answered}:
        same["scores"] = all(abs(answered[p][1] - v) < 1e-6 for p, v in scored.items())
    return same


def _every_pair(network: Path, run: Run) -> pd.DataFrame:
    pairs, table = network.parent / "every-pair.tsv", network.parent / "every-pair.parquet"
    frame = pd.DataFrame(itertools.product(_GENES, _GENES), columns=["query", "key"])
    frame.to_csv(pairs, sep="\t", index=False)
    table.unlink(missing_ok=True)
    done = run("octopus", "lookup", str(network), str(pairs), str(table))
    if done.returncode:
        raise RuntimeError(done.stderr)
    return pd.read_parquet(table)


def _expected(config: Path, network: Path) -> Edges:
    sources = yaml.safe_load(config.read_text())["sources"]
    edges: Edges = {}
    if "STRING" in sources:
        edges |= _of_string(_text(Path(sources["STRING"]["links"])))
    if "TRRUST" in sources:
        edges |= _of_trrust(_text(Path(sources["TRRUST"]["path"])))
    if "Reactome-FI" in sources:
        edges |= _of_reactome_fi(_text(Path(sources["Reactome-FI"]["path"])))
    if "OmniPath" in sources:  # UniProt accessions end with the number of the gene
        for line in _text(Path(sources["OmniPath"]["path"])).splitlines()[1:]:
            pair = tuple(int(name[-2:]) for name in line.split("\t")[:2])
            edges[pair] = (1, edges[pair][1])  # all of them stimulate, and STRING has the pair
    if "edge_lists" in sources:
        case = network.name.removeprefix("oct-")
        edges |= _ANNOTATED if case.startswith("an-") else _LISTS[case]
    return edges


def _text(path: Path) -> str:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[:2] == b"PK":
        archive = zipfile.ZipFile(io.BytesIO(content))
        content = archive.read(next(n for n in archive.namelist() if not n.startswith("__")))
    return content.decode("utf-8-sig")


def _of_string(text: str) -> Edges:
    frame = pd.read_csv(io.StringIO(text), sep=" ").dropna(subset=["combined_score"])
    a, b = frame["protein1"].map(_PROTEIN), frame["protein2"].map(_PROTEIN)
    score = frame["combined_score"] / 1000
    rows = [  # a protein with itself is no pair
        p for i, j, s in zip(a, b, score, strict=True) if i != j for p in ((i, j, s), (j, i, s))
    ]
    best = pd.DataFrame(rows, columns=["a", "b", "score"]).groupby(["a", "b"])["score"].max()
    return {(int(i), int(j)): (0, float(s)) for (i, j), s in best.items()}


def _of_trrust(text: str) -> Edges:
    columns = ["tf", "target", "mode", "pmid"]
    frame = pd.read_csv(io.StringIO(text), sep="\t", names=columns, dtype=str)
    frame = frame.apply(lambda column: column.str.strip())
    signs: dict[tuple[int, int], set[int]] = {}
    for tf, target, mode in frame[columns[:3]].itertuples(index=False):
        if tf in _SYMBOL and target in _SYMBOL:
            sign = {"activation": 1, "repression": -1}.get(mode.lower(), 0)
            signs.setdefault((_SYMBOL[tf], _SYMBOL[target]), set()).add(sign)
    return {p: (sum(s), None) for p, s in signs.items()}  # of both signs: 0


def _of_reactome_fi(text: str) -> Edges:
    frame = pd.read_csv(io.StringIO(text), sep="\t", dtype=str).rename(columns=str.strip)
    scores = frame["Score"] if "Score" in frame else pd.Series(float("nan"), index=frame.index)
    rows = []
    for one, two, arrow, score in zip(
        frame["Gene1"], frame["Gene2"], frame["Direction"].str.strip(), scores, strict=True
    ):
        i, j, value = _SYMBOL[one], _SYMBOL[two], float(score)
        rows += [(i, j, _FORWARD[arrow], value)] if arrow in _FORWARD else []
        rows += [(j, i, _BACK[arrow], value)] if arrow in _BACK else []
    stated = pd.DataFrame(rows, columns=["a", "b", "sign", "score"]).groupby(["a", "b"])
    return {
        (int(a), int(b)): (
            int(of["sign"].sum()),
            None if of["score"].isna().all() else of["score"].max(),
        )
        for (a, b), of in stated
    }
