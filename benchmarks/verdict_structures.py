"""Attention, networks and cells whose truth is known, to calibrate the control of co-expression.

    python benchmarks/verdict_structures.py [--seeds 20] [--odds-ratio 1 3] [--structure NAME ...]
                                            [--vertices [--share 0.1]]

The attention of a pair is A = m + log(odds ratio) * Y + noise: m is a function of the population's
co-expression C*, of the genes and of their expression; Y is 1 for an edge of the network; the noise
is standard logistic and independent of all the rest. So whatever the threshold, the odds ratio of
"above the threshold" and "edge", given C* and the genes, is the one asked for. Edges depend on C*,
on the genes' propensities and on expression as each structure says. The measured co-expression is
Pearson's correlation over simulated cells: Gaussian ones with the correlation C*, or sparse counts.

Effects of genes are moderate on purpose. Where some pairs are all but sure to be listed, an odds
ratio over strata that hold different genes lies nearer to 1 than the one given the genes, whatever
the method (odds ratios do not collapse); `dataclasses.replace` makes stronger structures.

The table: pairs that can be listed, their share of edges, the edge rate of the top 3 % over that
share, reliability of the co-expression (Spearman-Brown of its halves), the list's odds ratio with
nothing controlled, and the odds ratio with the true m controlled (a logistic regression over all
seeds; it must agree with the one asked for), with its 95 % interval as if pairs were independent;
CPU time of one simulation. The same seeds serve every structure, so rows that differ in their cells
alone agree in all but rho.

Where a vertex holds several genes, two vertices have the largest value of any of their genes, and
its noise is not logistic. ``--vertices`` prints the odds ratio that is true there.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit, logsumexp, ndtr

LISTED = 0.03  # share of the pairs that a list holds
FACTORS = 16  # programmes that genes are co-expressed in
SD = 0.09  # standard deviation of C* over pairs, about


@dataclass(frozen=True)
class Simulated:
    """One simulation; matrices are symmetric.

    Pairs of genes on one vertex are eligible too: they can be listed, and are no pair of vertices.
    """

    values: np.ndarray  # [genes, genes] float32 attention, diagonal unused
    adjacency: np.ndarray  # [vertices, vertices] bool, diagonal False
    vertices: np.ndarray  # [genes] int, the vertex of each gene; several genes may share one
    eligible: np.ndarray  # [genes, genes] bool, diagonal False: pairs that can be listed
    coexpression: np.ndarray  # [genes, genes] float32 correlation over all cells
    halves: np.ndarray  # [2, genes, genes] float32, the same over each half of the cells
    expression: np.ndarray  # [genes] float64 mean log expression
    odds_ratio: float  # truth: odds ratio of listed and edge given C*, genes and expression


@dataclass(frozen=True)
class Structure:
    """What attention and network depend on, and the cells that co-expression is measured in.

    Coefficients are log odds, per standard deviation of a gene's quantity; of C* they are per unit
    (attention) and per signed power 1.5 of C* in standard deviations (network): edges crowd among
    the strongest co-expression, where strata as coarse as deciles cannot tell pairs apart.
    """

    attention_coexpression: float = 0.0
    attention_hubs: float = 0.0
    attention_expression: float = 0.0
    attention_genes: float = 0.3  # effects of genes that have nothing to do with the network
    attention_form: str = ""  # "key hubs", "one key gene", "low rank", one of `PAIR_FORMS`
    attention_of_form: float = 1.0
    attention_low_rank: float = 1.0
    key_gene: float = 3.0  # how much larger the attention of the one key gene is
    network_coexpression: float = 0.25
    network_hubs: float = 0.7
    network_expression: float = 0.0
    network_low_rank: float = 0.0
    network_form: str = ""  # one of `PAIR_FORMS`
    network_of_form: float = 1.0
    edges: float = 0.045  # share of all pairs of vertices
    genes: int = 160
    per_vertex: int = 1  # genes on one vertex
    family_noise: float = 0.0  # correlation of the noise of pairs between the same two vertices
    half_ineligible: bool = False
    cells: int = 1000
    counts: bool = False

    def __call__(self, rng: np.random.Generator, odds_ratio: float) -> Simulated:
        """Return one simulation."""
        return self.draw(rng, odds_ratio)[0]

    def draw(self, rng: np.random.Generator, odds_ratio: float) -> tuple[Simulated, np.ndarray]:
        """Return one simulation and its m [genes, genes], which no analysis may see."""
        n, per = self.genes, self.per_vertex
        vertices = np.arange(n) // per
        loadings = draw_loadings(rng, vertices)
        population = loadings @ loadings.T  # C*, but for the diagonal
        expression = rng.normal(size=n // per)[vertices]  # standardised
        hubs = rng.normal(size=n // per)
        adjacency = self._network(rng, population, hubs, expression)
        m = self._predictor(rng, population, hubs[vertices], expression)
        edge = adjacency[np.ix_(vertices, vertices)]
        noise = self._noise(rng, vertices)
        values = m + np.log(odds_ratio) * edge + noise
        eligible = ~np.eye(n, dtype=bool)
        if self.half_ineligible:
            expressed = expression > np.median(expression)
            eligible &= np.logical_and.outer(expressed, expressed)
        cells, level = self._cells(rng, loadings, expression)
        coexpression, halves = correlations(cells)
        simulated = Simulated(
            values.astype(np.float32), adjacency, vertices, eligible,
            coexpression, halves, level, odds_ratio,
        )  # fmt: skip
        return simulated, m

    def _network(
        self, rng: np.random.Generator, population: np.ndarray, hubs: np.ndarray, x: np.ndarray
    ) -> np.ndarray:
        """Return the edges [vertices, vertices]; C* and expression are means over a vertex."""
        v, per = len(hubs), self.per_vertex
        c = population.reshape(v, per, v, per).mean((1, 3)) / SD
        x = x.reshape(v, per).mean(1)
        gene = self.network_hubs * hubs + self.network_expression * x
        strength = np.sign(c) * np.abs(c) ** 1.5
        log_odds = self.network_coexpression * strength + gene[:, None] + gene
        if self.network_form:
            log_odds += self.network_of_form * pair_form(self.network_form, hubs, x)
        if self.network_low_rank:
            log_odds += self.network_low_rank * bilinear(rng, v)
        if self.half_ineligible:  # relative rates: both expressed, one of them, neither
            expressed = (x > np.median(x)).astype(int)
            log_odds += np.log([1.6, 0.6, 3.0])[expressed[:, None] + expressed]
        rows, columns = upper(v)
        of_pair = log_odds[rows, columns]
        edges = np.zeros((v, v), bool)
        chance = expit(of_pair + level_at(of_pair, self.edges))
        edges[rows, columns] = rng.random(len(rows)) < chance
        return edges | edges.T

    def _predictor(
        self, rng: np.random.Generator, population: np.ndarray, hubs: np.ndarray, x: np.ndarray
    ) -> np.ndarray:
        """Return m [genes, genes]: all that attention depends on but the edges and the noise."""
        n = len(x)
        gene = self.attention_hubs * hubs + self.attention_expression * x
        if self.attention_form == "key hubs":  # the direction with the larger value is listed
            m = np.maximum.outer(gene, gene)
        else:
            m = gene[:, None] + gene
        own = self.attention_genes * rng.normal(size=n)
        m = m + own[:, None] + own + self.attention_coexpression * population
        if self.attention_form == "one key gene":
            key = rng.integers(n)
            m[key] += self.key_gene
            m[:, key] += self.key_gene
        elif self.attention_form == "low rank":
            m += self.attention_low_rank * bilinear(rng, n)
        elif self.attention_form in PAIR_FORMS:
            m += self.attention_of_form * pair_form(self.attention_form, hubs, x)
        return m

    def _noise(self, rng: np.random.Generator, vertices: np.ndarray) -> np.ndarray:
        """Return standard logistic noise, symmetric [genes, genes]."""
        n = len(vertices)
        if not self.family_noise:
            u = rng.random(n * (n - 1) // 2)
        else:  # a Gaussian copula: each pair's noise is logistic, those of a family go together
            shared = mirrored(rng.normal(size=len(upper(vertices[-1] + 1)[0])), vertices[-1] + 1)
            rows, columns = upper(n)
            z = np.sqrt(1 - self.family_noise) * rng.normal(size=len(rows))
            z += np.sqrt(self.family_noise) * shared[vertices[rows], vertices[columns]]
            same = vertices[rows] == vertices[columns]
            z[same] /= np.sqrt(1 - self.family_noise)
            u = ndtr(z)
        return mirrored(logit(u), n)

    def _cells(
        self, rng: np.random.Generator, loadings: np.ndarray, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return expression [cells, genes] float32 and the genes' mean log expression."""
        n = len(x)
        specific = np.sqrt(1 - (loadings**2).sum(1)).astype(np.float32)
        z = rng.standard_normal((self.cells, n), np.float32) * specific
        z += rng.standard_normal((self.cells, FACTORS), np.float32) @ loadings.T.astype(np.float32)
        if not self.counts:
            return z, x
        # counts of a rate that is log-normal; depth is known from the thousands of other genes
        depth = rng.lognormal(-0.045, 0.3, (self.cells, 1)).astype(np.float32)
        rate = np.exp(RATE_SD * z + (LOG_MEAN + LOG_MEAN_SD * x).astype(np.float32))
        logged = np.log1p(rng.poisson(depth * rate).astype(np.float32) / depth)
        return logged, logged.mean(0).astype(np.float64)


PAIR_FORMS = ("larger hub", "smaller hub", "both hubs", "like expression", "unlike expression")


def pair_form(form: str, hubs: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return a function [n, n] of two genes that is no sum over them."""
    if form == "larger hub":
        return np.maximum.outer(hubs, hubs)
    if form == "smaller hub":
        return np.minimum.outer(hubs, hubs)
    if form == "both hubs":  # a threshold of the product
        return (hubs[:, None] + hubs > 1.5).astype(np.float64)
    distance = np.abs(x[:, None] - x)
    return -distance if form == "like expression" else distance


RATE_SD, LOG_MEAN, LOG_MEAN_SD = 0.8, -0.7, 0.8  # of log rates over cells; of their means


@lru_cache
def upper(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pairs of n, each pair once."""
    return np.triu_indices(n, 1)


def mirrored(of_pairs: np.ndarray, n: int) -> np.ndarray:
    """Return the symmetric matrix [n, n] of values in the order of `upper`, diagonal 0."""
    matrix = np.zeros((n, n))
    matrix[upper(n)] = of_pairs
    return matrix + matrix.T


def bilinear(rng: np.random.Generator, n: int, rank: int = 3) -> np.ndarray:
    """Return a symmetric matrix [n, n] of low rank, off-diagonal entries of variance 1."""
    factors = rng.normal(size=(n, rank))
    return factors @ factors.T / np.sqrt(rank)


def draw_loadings(rng: np.random.Generator, vertices: np.ndarray) -> np.ndarray:
    """Return loadings [genes, FACTORS]; C* is their product off the diagonal.

    A gene loads on few programmes (cubes of normal numbers), so C* has heavy tails. Genes of a
    vertex share most of their loadings. The sum of squares (communality) differs by gene.
    """
    n, v = len(vertices), vertices[-1] + 1
    own = rng.normal(size=(n, FACTORS))
    if v < n:
        own = np.sqrt(0.3) * own + np.sqrt(0.7) * rng.normal(size=(v, FACTORS))[vertices]
    own = own**3
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    return own * np.sqrt(rng.uniform(0.12, 0.62, (n, 1)))


def level_at(log_odds: np.ndarray, share: float) -> float:
    """Return the intercept at which the mean probability is `share` (Newton's method)."""
    level = float(logit(share) - log_odds.mean())
    for _ in range(10):
        p = expit(log_odds + level)
        step = (p.mean() - share) / (p * (1 - p)).mean()
        level -= float(np.clip(step, -1, 1))
    return level


def correlations(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson's correlations over all cells and over each half, float32; 0 if constant."""
    half = len(cells) // 2
    return correlation(cells), np.stack([correlation(cells[:half]), correlation(cells[half:])])


def correlation(cells: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation [genes, genes] of cells [cells, genes]."""
    centred = cells - cells.mean(0)
    norm = np.sqrt(np.einsum("cg,cg->g", centred, centred))
    centred /= np.where(norm > 0, norm, 1)
    return np.clip(centred.T @ centred, -1, 1).astype(np.float32)


PURE = {"attention_coexpression": 14.0}
ALL = {
    "attention_coexpression": 10.0, "attention_hubs": 0.8, "attention_expression": 0.5,
    "network_expression": 0.4,
}  # fmt: skip
SPARSE = {"cells": 600, "counts": True}
STRUCTURES: dict[str, Structure] = {
    "noise": Structure(),
    "half ineligible": Structure(half_ineligible=True),
    "half ineligible, 320 genes": Structure(half_ineligible=True, genes=320),
    "expression": Structure(attention_expression=0.8, network_expression=0.6),
    "hubs": Structure(attention_hubs=1.0, network_hubs=0.8),
    "key hubs": Structure(attention_hubs=1.5, network_hubs=0.8, attention_form="key hubs"),
    "strong key hubs": Structure(attention_hubs=2.0, network_hubs=1.2, attention_form="key hubs"),
    "one key gene": Structure(attention_form="one key gene"),
    "families": Structure(per_vertex=4, family_noise=0.7),
    "families, 160 vertices": Structure(genes=640, per_vertex=4, family_noise=0.7),
    "low rank": Structure(
        attention_form="low rank", network_coexpression=0.0, network_low_rank=1.0
    ),
    "co-expression, 1,000 cells": Structure(**PURE),
    "co-expression, 200 cells": Structure(**PURE, cells=200),
    "co-expression, 600 sparse cells": Structure(**PURE, **SPARSE),
    "sharp co-expression": Structure(attention_coexpression=40.0),
    "all confounders, 1,000 cells": Structure(**ALL),
    "all confounders, 200 cells": Structure(**ALL, cells=200),
    "all confounders, 600 sparse cells": Structure(**ALL, **SPARSE),
}


# Network and attention share a function of both genes that is no sum over them; strata do not see
# it. Not among those that are run by default.
PAIRWISE: dict[str, Structure] = {
    "larger hub in both": Structure(
        attention_hubs=1.5, attention_form="key hubs", network_hubs=0.0, network_coexpression=0.0,
        network_form="larger hub", network_of_form=1.5,
    ),
    "like expression in both": Structure(
        attention_form="like expression", network_form="like expression"
    ),
    "smaller hub in both": Structure(
        attention_form="smaller hub", attention_of_form=1.5, network_hubs=0.0,
        network_coexpression=0.0, network_form="smaller hub", network_of_form=1.5,
    ),
    "unlike expression in both": Structure(
        attention_form="unlike expression", network_form="unlike expression"
    ),
    "both hubs in both": Structure(
        attention_form="both hubs", attention_of_form=1.5, network_form="both hubs",
        network_of_form=1.5,
    ),
}  # fmt: skip


def pairs_of(simulated: Simulated) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the eligible pairs of different vertices."""
    rows, columns = upper(len(simulated.vertices))
    v = simulated.vertices
    keep = simulated.eligible[rows, columns] & (v[rows] != v[columns])
    return rows[keep], columns[keep]


def controlled(listed: np.ndarray, edge: np.ndarray, offset: np.ndarray) -> tuple[float, float]:
    """Return log odds ratio and standard error: listed on [1, offset, edge], arrays [pairs]."""
    return last_of_logistic(np.column_stack([np.ones(len(edge)), edge]), listed, offset)


def last_of_logistic(x: np.ndarray, y: np.ndarray, offset: np.ndarray) -> tuple[float, float]:
    """Return the last coefficient of a logistic regression and its standard error.

    ``x``: [rows, columns]; ``offset``: [rows], a column whose coefficient begins at 1.
    """
    x = np.insert(x, 1, offset, axis=1)
    beta = np.zeros(x.shape[1])
    beta[1] = 1

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        eta = x @ beta
        return float((np.logaddexp(0, eta) - y * eta).sum()), x.T @ (expit(eta) - y)

    def information(beta: np.ndarray) -> np.ndarray:
        p = expit(x @ beta)
        return (x * (p * (1 - p))[:, None]).T @ x

    beta = minimize(loss, beta, jac=True, hess=information, method="trust-exact").x
    return beta[-1], float(np.sqrt(np.linalg.inv(information(beta))[-1, -1]))


def odds_of_vertex_pairs(
    structure: Structure, odds_ratio: float, seeds: int, share: float
) -> tuple[float, float]:
    """Return the odds ratio of listed and edge among pairs of vertices given m, and its error.

    A logistic regression over all seeds on a cubic of the log sum and the largest of exp(m).
    """
    listed, edge, of_m = [], [], []
    per = structure.per_vertex
    for seed in range(seeds):
        s, m = structure.draw(np.random.default_rng([seed, 22]), odds_ratio)
        n = len(s.adjacency)
        rows, columns = upper(n)
        values, m = (
            x.reshape(n, per, n, per).swapaxes(1, 2).reshape(n, n, -1)[rows, columns]
            for x in (s.values, m)
        )
        best = values.max(1)
        threshold = np.sort(best)[-int(share * len(best))]
        listed.append(best >= threshold)
        edge.append(s.adjacency[rows, columns])
        of_m.append(np.stack([logsumexp(m, 1), m.max(1)]) - threshold)
    a, b = np.concatenate(of_m, 1)
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    x = np.stack([np.ones(len(a)), b, a * a, a * b, b * b, a**3, b**3, np.concatenate(edge)], 1)
    log, se = last_of_logistic(x, np.concatenate(listed), a)
    return float(np.exp(log)), se


def summary(structure: Structure, odds_ratio: float, seeds: int, first: int = 0) -> str:
    """Return the row of a structure in the table."""
    tables, rho, parts, seconds = np.zeros((2, 2)), [], [], 0.0
    for seed in range(first, first + seeds):
        start = time.process_time()
        s, m = structure.draw(np.random.default_rng(seed), odds_ratio)
        seconds += time.process_time() - start
        rows, columns = pairs_of(s)
        values = s.values[rows, columns]
        threshold = np.partition(values, -round(LISTED * len(values)))[-round(LISTED * len(values))]
        listed = values >= threshold
        edge = s.adjacency[s.vertices[rows], s.vertices[columns]]
        np.add.at(tables, (listed.astype(int), edge.astype(int)), 1)
        r = np.corrcoef(s.halves[0][rows, columns], s.halves[1][rows, columns])[0, 1]
        rho.append(2 * r / (1 + r))
        parts.append((listed, edge, m[rows, columns] - threshold))
    log_or, se = controlled(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    share = tables[:, 1].sum() / tables.sum()
    enriched = tables[1, 1] / tables[1].sum() / share
    crude = tables[1, 1] * tables[0, 0] / (tables[1, 0] * tables[0, 1])
    low, odds, high = np.exp(log_or + 1.96 * se * np.array([-1, 0, 1]))
    return (
        f"{len(rows):,} | {share:.1%} | {tables[1, 1] / seeds:.0f} | {enriched:.2f} | "
        f"{np.mean(rho):.2f} | {crude:.2f} | {odds:.2f} ({low:.2f}-{high:.2f}) | "
        f"{1000 * seconds / seeds:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--odds-ratio", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--structure", nargs="+", choices=list(STRUCTURES), default=STRUCTURES)
    parser.add_argument("--vertices", action="store_true", help="true odds ratios of vertex pairs")
    parser.add_argument("--share", type=float, default=LISTED, help="of listed pairs of vertices")
    args = parser.parse_args()
    if args.vertices:
        for name in args.structure:
            if (structure := STRUCTURES[name]).per_vertex > 1:
                for odds_ratio in args.odds_ratio:
                    odds, se = odds_of_vertex_pairs(structure, odds_ratio, args.seeds, args.share)
                    print(f"{name}, {odds_ratio:g}: {odds:.2f}, standard error of its log {se:.3f}")
        return
    print(
        "| structure | true OR | pairs | edges | edges listed | rate / background | rho "
        "| OR, nothing controlled | OR, m controlled | CPU ms |\n|" + "---|" * 10
    )
    for name in args.structure:
        for odds_ratio in args.odds_ratio:
            row = summary(STRUCTURES[name], odds_ratio, args.seeds)
            print(f"| {name} | {odds_ratio:g} | {row} |", flush=True)


if __name__ == "__main__":
    main()
