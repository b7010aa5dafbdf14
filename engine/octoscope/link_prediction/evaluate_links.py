"""Evaluates floors, and checkpoints beside them, on one split of a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from octoscope.errors import InputError
from octoscope.link_prediction.adjacency import train_adjacency
from octoscope.link_prediction.calibration import (
    ALL,
    CALIBRATION_COLUMNS,
    LEAST,
    RELIABILITY_COLUMNS,
    calibration_rows,
    fit_calibration,
)
from octoscope.link_prediction.checkpoint_scores import open_scorer
from octoscope.link_prediction.floors import STACKED, features, fit_stacked, floors_of
from octoscope.link_prediction.leaks import leak_of
from octoscope.link_prediction.links import Links
from octoscope.link_prediction.metric_rows import pair_rows, ranking_rows
from octoscope.link_prediction.negatives import (
    Negatives,
    Positives,
    draw_negatives,
    new_ends,
    positives_of,
    with_negatives,
)
from octoscope.link_prediction.sign_floors import sign_table
from octoscope.link_prediction.splits import Split
from octoscope.link_prediction.topology_scores import RULES, Topology
from octoscope.octopus.pairs import find_keys, pair_codes

Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Settings:
    """What to evaluate on.

    Attributes
    ----------
    negatives
        Kinds of negatives, see :mod:`octoscope.link_prediction.negatives`.
    floors
        Names of floors; empty: all.
    seed
        Of what is drawn.
    positives
        At most so many edges of validation and of test.
    queries, candidates
        Test edges that are ranked, each among so many other targets; 0 queries: no ranking.
    """

    negatives: tuple[str, ...] = ("degree", "uniform")
    floors: tuple[str, ...] = ()
    seed: int = 0
    positives: int = 20_000
    queries: int = 500
    candidates: int = 200


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes
    ----------
    metrics
        Rows of negatives, scorer, kind (floor, model), stratum, group, metric, value, low, high,
        best_floor, gain, gain_low, gain_high, n_positives, n_negatives, n_vertices.
    signs
        Rows of :func:`octoscope.link_prediction.sign_floors.sign_table`; empty without signs.
    about
        Split with digest and leaks, accounts of negatives, checkpoints, settings, seconds; of each
        model its calibration.
    calibration, reliability
        Rows of :func:`octoscope.link_prediction.calibration.calibration_rows`, of models on the
        first kind of negatives; empty without models.
    """

    metrics: pd.DataFrame
    signs: pd.DataFrame
    about: dict[str, Any]
    calibration: pd.DataFrame
    reliability: pd.DataFrame


@dataclass(frozen=True)
class _PairSet:
    """Pairs that are scored: edges first, then negatives."""

    positives: Positives
    negatives: Negatives
    src: np.ndarray
    dst: np.ndarray
    relation: np.ndarray


def evaluate_links(
    links: Links,
    split: Split,
    checkpoints: Sequence[str | Path] = (),
    settings: Settings | None = None,
    models: Mapping[str, Scorer] | None = None,
) -> Evaluation:
    """Evaluate on the test edges of a split.

    Floors read training edges only; stacked floors and the calibration of models are fitted on
    validation edges. Checkpoints are encoded along training edges only.

    Parameters
    ----------
    checkpoints
        Folders of checkpoints that were trained on this graph.
    models
        Other scorers by name: functions of source vertices, target vertices and relations
        ([pairs] int64 each) that return [pairs] scores, finite numbers that grow with an edge's
        likelihood.

    Raises
    ------
    InputError
        If a floor or kind of negatives does not exist, a checkpoint does not fit the graph, or a
        score is not finite.
    """
    settings, start = settings or Settings(), time.monotonic()
    floor_names = floors_of(settings.floors)
    opened = [open_scorer(path, links, split) for path in checkpoints]
    scorers = _named([(c.name, c.score) for c in opened], models or {})
    topology = Topology(train_adjacency(links, split))
    parts = ("val", "test") if STACKED in floor_names or scorers else ("test",)
    positives = {p: positives_of(links, split, p, settings.positives, settings.seed) for p in parts}
    sets = {
        (how, part): _pair_set(links, split, positives[part], how, settings.seed + (part == "val"))
        for how in settings.negatives
        for part in parts
    }
    queries = _queries(links, split, positives["test"], settings)
    everything = [*((s.src, s.dst) for s in sets.values()), (queries.src, queries.dst)]
    rules = RULES if STACKED in floor_names else floor_names
    a, b = (np.concatenate([pair[i] for pair in everything]) for i in (0, 1))
    of_rules = _cut(topology.scores(a, b, rules), [len(pair[0]) for pair in everything])
    index_of = {key: i for i, key in enumerate(sets)}
    rows: list[dict[str, Any]] = []
    calibrated = _Calibrated({}, [], [])
    for at, how in enumerate(settings.negatives):
        here = sets[how, "test"]
        scores, ranked = of_rules[index_of[how, "test"]], of_rules[-1]
        if STACKED in floor_names:
            before = sets[how, "val"]
            table = features(topology, of_rules[index_of[how, "val"]], before.src, before.dst)
            truth = np.arange(len(before.src)) < len(before.positives.src)
            trees = fit_stacked(table, truth, settings.seed)
            scores = scores | {STACKED: trees.score(features(topology, scores, here.src, here.dst))}
            if len(queries.src):
                table = features(topology, ranked, queries.src, queries.dst)
                ranked = ranked | {STACKED: trees.score(table)}
        floors = {name: scores[name] for name in floor_names}
        of_models = {n: _checked(n, s(here.src, here.dst, here.relation))
                     for n, s in scorers.items()}  # fmt: skip
        rows += pair_rows(links, here.positives, here.negatives, floors, of_models, topology.degree)
        if at == 0:
            for name, scorer in scorers.items():
                _calibrate(calibrated, links, name, scorer, sets[how, "val"], here, of_models[name])
        if at == 0 and len(queries.src):
            floors = {name: ranked[name] for name in floor_names}
            of_models = {n: _checked(n, s(queries.src, queries.dst, queries.relation))
                         for n, s in scorers.items()}  # fmt: skip
            rows += ranking_rows(
                links, queries.positives, queries.blank, floors, of_models, topology.degree
            )
    knowing = {c.name: c.sign for c in opened if c.knows_signs}
    signs, conflicting = sign_table(
        links, split, knowing, settings.seed, stacked=STACKED in floor_names
    )
    about = {
        "network": links.graph.made_from,
        "split": {"by": split.by, **split.settings, "digest": split.digest,
                  "edges": split.counts()},
        "leak": leak_of(links, split).as_dict(),
        "negatives": [sets[how, part].negatives.account() | {"part": part}
                      for how, part in sets],
        "test_edges": positives["test"].total,
        "floors": list(floor_names),
        "pagerank_error": topology.pagerank_error(len(np.unique(a)))
        if "personalised_pagerank" in rules else None,
        "checkpoints": [{"name": c.name, "sha256": c.digest, "test_edges_seen": c.seen.share,
                         "signs": c.knows_signs} for c in opened],
        "calibration": calibrated.of,
        "conflicting_signs": conflicting,
        "settings": {"seed": settings.seed, "positives": settings.positives,
                     "queries": settings.queries, "candidates": settings.candidates},
        "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip
    return Evaluation(pd.DataFrame(rows), signs, about, *calibrated.frames())


def _named(opened: list[tuple[str, Scorer]], models: Mapping[str, Scorer]) -> dict[str, Scorer]:
    out: dict[str, Scorer] = {}
    for name, scorer in [*opened, *models.items()]:
        if name in out:
            raise InputError(name, "stands for two models", "give their folders different names")
        out[name] = scorer
    return out


def _checked(name: str, score: np.ndarray) -> np.ndarray:
    score = np.asarray(score, float)
    if not np.isfinite(score).all():
        raise InputError(name, f"gives {int((~np.isfinite(score)).sum()):,} scores that are not "
                         "finite", "check the model")  # fmt: skip
    return score


def _pair_set(links: Links, split: Split, positives: Positives, how: str, seed: int) -> _PairSet:
    negatives = draw_negatives(links, split, positives, how, seed)
    if negatives.missing:  # an edge without a negative would stand against those of others
        positives = positives.select(negatives.of)
        negatives = replace(negatives, of=np.arange(len(negatives.of)))
    return _PairSet(positives, negatives, *with_negatives(positives, negatives))


@dataclass(frozen=True)
class _Calibrated:
    """Calibrations of models by name, and their rows."""

    of: dict[str, Any]
    rows: list[dict[str, Any]]
    bins: list[dict[str, Any]]

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return (pd.DataFrame(self.rows, columns=list(CALIBRATION_COLUMNS)),
                pd.DataFrame(self.bins, columns=list(RELIABILITY_COLUMNS)))  # fmt: skip


def _calibrate(
    calibrated: _Calibrated, links: Links, name: str, scorer: Scorer, val: _PairSet,
    test: _PairSet, score: np.ndarray,
) -> None:  # fmt: skip
    """Add the calibration of a model, fitted on validation pairs, and rows of the test pairs."""
    sets = (val, test)
    truths = [np.arange(len(s.src)) < len(s.positives.src) for s in sets]
    if any(len(s.positives.src) < LEAST for s in sets):
        return
    names = np.array(links.graph.relations or (ALL,), object)
    of_val = _checked(name, scorer(val.src, val.dst, val.relation))
    fitted = fit_calibration(of_val, truths[0], names[val.relation], val.negatives.how)
    relation = names[test.relation]
    rows, bins = calibration_rows(
        name, fitted, fitted.log_odds(score, relation), truths[1], relation, test.src, test.dst
    )
    calibrated.of[name] = fitted.as_dict()
    calibrated.rows.extend(rows)
    calibrated.bins.extend(bins)


@dataclass(frozen=True)
class _Queries:
    """Edges with candidates: for each query the edge, then its candidates.

    ``blank``: [queries, candidates] bool, where a candidate is the vertex itself or joined to it.
    """

    positives: Positives
    blank: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    relation: np.ndarray


def _queries(links: Links, split: Split, positives: Positives, settings: Settings) -> _Queries:
    """Draw queries and candidates: targets of test edges, so degree alone tells little.

    They are of edges of which the same ends are new.
    """
    rng = np.random.default_rng([settings.seed, 2])
    count = min(settings.queries, len(positives.src))
    mine = np.sort(rng.choice(len(positives.src), count, replace=False))
    chosen = positives.select(mine)
    group = new_ends(links, split, positives.src, positives.dst)
    drawn = np.empty((count, settings.candidates), np.int64)
    for g in np.unique(group[mine]):
        rows, like = np.flatnonzero(group[mine] == g), positives.dst[group == g]
        drawn[rows] = like[rng.integers(len(like), size=(len(rows), settings.candidates))]
    src = np.repeat(chosen.src[:, None], settings.candidates + 1, axis=1)
    dst = np.column_stack([chosen.dst, drawn])
    relation = np.repeat(chosen.relation[:, None], settings.candidates + 1, axis=1)
    joined = find_keys(links.known, pair_codes(src[:, 1:], drawn, links.n).ravel()) >= 0
    blank = joined.reshape(drawn.shape) | (drawn == src[:, 1:])
    return _Queries(chosen, blank, src.ravel(), dst.ravel(), relation.ravel())


def _cut(scores: dict[str, np.ndarray], lengths: list[int]) -> list[dict[str, np.ndarray]]:
    bounds = np.cumsum(lengths)[:-1]
    parts = {name: np.split(values, bounds) for name, values in scores.items()}
    return [{name: parts[name][i] for name in parts} for i in range(len(lengths))]
