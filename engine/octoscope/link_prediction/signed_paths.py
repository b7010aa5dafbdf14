"""What the signs of training pairs say of the sign of another pair: a floor that needs no network.

Boosted trees read the rates of regulator and target, and sums over paths from a to b along signed
training pairs. A step is scaled by the root of the degrees of its ends. Each sum is over signs (1
activates, -1 inhibits), and again over what the rates leave over of each sign.

=================== ============================================================================
``a -> u <- v -> b`` how v acts on b, weighted by the signs that a and v share; and by targets alone
``a -> u -> b``      product of two signs; ``a -> u -> v -> b``: of three
``a -> u <- b``      signs that a and b share; ``a <- u -> b``: how both are acted on
``a <- b``           the mirror
low rank             leading singular vectors of what the rates leave over
=================== ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from octoscope.gnn.directed_spectrum import leading_singular
from octoscope.link_prediction.path_sums import by_source, reach
from octoscope.link_prediction.spectral import products

RANKS = (8, 32)
Rate = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SignedTraining:
    """Signed training pairs, all that the features may know.

    Attributes
    ----------
    n
        Number of vertices.
    src, dst
        [pairs] int64 regulator and target.
    activates
        [pairs] bool; False: inhibits.
    """

    n: int
    src: np.ndarray
    dst: np.ndarray
    activates: np.ndarray

    def counts(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return [pairs, 4] float64: activations and inhibitions of ``a``, then those of ``b``."""
        columns = []
        for end, vertex in ((self.src, a), (self.dst, b)):
            columns += [np.bincount(end[kind], minlength=self.n)[vertex]
                        for kind in (self.activates, ~self.activates)]  # fmt: skip
        return np.column_stack(columns).astype(float)

    def matrix(self, value: np.ndarray) -> sparse.csr_array:
        """Return [n, n] float32 CSR of [pairs] values, scaled by the degrees of the two ends."""
        out, into = (np.maximum(np.bincount(end, minlength=self.n), 1)
                     for end in (self.src, self.dst))  # fmt: skip
        scale = 1 / np.sqrt(out[self.src] * into[self.dst])
        scaled = (value * scale).astype(np.float32)
        return sparse.csr_array((scaled, (self.src, self.dst)), shape=(self.n, self.n))

    def left_over(self, of_ends: Rate) -> np.ndarray:
        """Return [pairs] float64: each sign (1 activates, 0 inhibits) less what the rates expect.

        Parameters
        ----------
        of_ends
            Log-odds of activation from regulator and target, each with those of all training pairs
            in it (:func:`octoscope.link_prediction.sign_floors.rates`).
        """
        share = self.activates.mean()
        lean = of_ends(self.src, self.dst) - np.log(share / (1 - share))
        return np.asarray(self.activates - 1 / (1 + np.exp(-lean)))


def path_features(train: SignedTraining, of_ends: Rate, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return [pairs, 19] float64 features of ordered pairs ([pairs] int64 vertices).

    Parameters
    ----------
    of_ends
        As of :meth:`SignedTraining.left_over`.
    """
    of_signs = np.where(train.activates, 1.0, -1.0)
    of_values = [train.matrix(v) for v in (of_signs, train.left_over(of_ends))]
    order = np.argsort(a, kind="stable")
    out = np.empty((len(a), 8 * len(of_values) + 1 + len(RANKS)))
    joined = train.matrix(np.ones(len(train.src)))
    against = joined.T.tocsr()
    backward = [step.T.tocsr() for step in of_values]
    for mine, pairs, row in by_source(a[order]):
        target = b[order[pairs]]
        like = (joined[mine] @ against).toarray()  # a -> u <- v, whatever the signs
        (total,) = reach(against, like, row, target, None)
        columns = [total]
        for step, back in zip(of_values, backward, strict=True):
            once, onto = step[mine], back[mine].toarray()
            shared, along = (once @ back).toarray(), (once @ step).toarray()
            (by_sign,), (by_likeness,), (onto_both,), (three,) = (
                reach(back, block, row, target, None) for block in (shared, like, onto, along)
            )
            columns += [
                by_sign,
                by_likeness,
                by_likeness / np.maximum(total, 1e-9),
                onto_both,
                three,
            ]
            columns += [block[row, target] for block in (shared, along, onto)]
        out[order[pairs], : len(columns)] = np.column_stack(columns)
    u, s, vt = leading_singular(of_values[1], min(max(RANKS), train.n))
    for i, rank in enumerate(RANKS, start=out.shape[1] - len(RANKS)):
        out[:, i] = products(u[:, :rank] * s[:rank], vt[:rank].T, a, b)
    return out
