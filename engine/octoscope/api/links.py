"""Link prediction on a network: rules without a model, and checkpoints beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octoscope.api.network import Network
from octoscope.errors import InputError
from octoscope.extras import extras_needed
from octoscope.output_files import new_file

with extras_needed():
    from octoscope.link_prediction.evaluation_files import read_evaluation, write_evaluation

if TYPE_CHECKING:
    import pandas as pd

    from octoscope.gnn_training.planted_checks import Check
    from octoscope.link_prediction.evaluate_links import Evaluation, Scorer
    from octoscope.link_prediction.links import Links


def evaluate_links(
    network: Network | str | Path,
    checkpoints: Sequence[str | Path] = (),
    *,
    split: str = "pair",
    source: str | None = None,
    older: Network | str | Path | None = None,
    negatives: Sequence[str] = ("degree", "uniform"),
    floors: Sequence[str] = (),
    models: Mapping[str, Scorer] | None = None,
    seed: int = 0,
    positives: int = 20_000,
    queries: int = 500,
    candidates: int = 200,
    peer: bool = False,
    data: str | None = None,
) -> Evaluation:
    """Measure how well edges are predicted; see :meth:`Network.evaluate_links`.

    Parameters
    ----------
    network
        Also a path: an Octopus directory, ``demo``, a folder of ``octoscope gnn graph``, or a
        napistu-torch store.
    data
        Name of the data of a store.

    Raises
    ------
    InputError
        If an argument is unknown or a checkpoint was not trained on this network.
    """
    from octoscope.link_prediction.evaluate_links import Settings
    from octoscope.link_prediction.evaluate_links import evaluate_links as evaluate
    from octoscope.link_prediction.splits import split_links

    links = _links(network, data)
    before = None if older is None else _links(older)
    divided = split_links(links, split, seed=seed, source=source, older=before, peer=peer)
    settings = Settings(tuple(negatives), tuple(floors), seed, positives, queries, candidates)
    return evaluate(links, divided, checkpoints, settings, models)


def save_evaluation(evaluation: Evaluation, folder: str | Path) -> None:
    """Write an evaluation into a new folder, whole or not at all.

    Raises
    ------
    InputError
        If the folder exists or lies in something that is read.
    """
    write_evaluation(evaluation, folder)


def write_links_report(
    evaluations: Sequence[str | Path], path: str | Path, *, force: bool = False
) -> None:
    """Write a page that shows models beside rules without a model.

    Parameters
    ----------
    evaluations
        Folders of :func:`save_evaluation`.
    path
        HTML file to write.
    force
        Replace a file that is there.

    Raises
    ------
    InputError
        If a folder holds no evaluation, or the file may not be written.
    """
    from octoscope.report.links_page import links_page

    named_evaluations = [
        (Path(folder).resolve().name, read_evaluation(folder)) for folder in evaluations
    ]
    with new_file(Path(path), force=force, inputs=evaluations) as file:
        file.write_bytes(links_page(named_evaluations))


def check_perturbations(
    network: Network | str | Path,
    table: str | Path,
    checkpoints: Sequence[str | Path] = (),
    *,
    kind: str = "KD",
    shares: Sequence[float] = (1.0, 0.5, 0.1),
    max_p: float | None = None,
    p_values: str | Path | None = None,
    split: str = "pair",
    seed: int = 0,
    data: str | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Compare signs that checkpoints predict with what perturbations did, beside floors.

    Parameters
    ----------
    network, data, split
        As for :func:`evaluate_links`.
    table
        Harmonizome's ``gene_attribute_edges.txt.gz``, a table with columns perturbed, target and
        effect, or an h5ad file of pseudobulks with effects or of cells with a control.
    kind
        Of the perturbations of a table that does not say it: OE, CRISPRA, KD, KO, CRISPRI.
    shares
        Of the strongest effects of each perturbed gene.
    max_p, p_values
        Keep pairs with a p value of at most this; a table of p values, targets x perturbed genes.

    Returns
    -------
    tuple
        A row per share, group of pairs and scorer, and numbers of what was read and left out.

    Raises
    ------
    InputError
        If the table cannot be read, is of a drug screen, or no pair is of the network.
    """
    from octoscope.link_prediction.perturbation_check import check_perturbations as check
    from octoscope.link_prediction.perturbation_tables import read_perturbations
    from octoscope.link_prediction.splits import split_links

    wrong = [s for s in shares if not 0 < s <= 1]
    if wrong:
        raise InputError("share", f"is {wrong[0]}", "give shares above 0, at most 1")
    perturbations = read_perturbations(table, kind, max_p, p_values)
    links = _links(network, data)
    divided = split_links(links, split, seed=seed)
    return check(links, divided, perturbations, checkpoints, tuple(shares), seed, str(table))


def check_planted(
    network: Network | str | Path = "demo",
    *,
    vertices: int = 3000,
    seed: int = 0,
    data: str | None = None,
) -> Iterator[Check]:
    """Evaluate graphs with a known truth; yield what each gave, and whether it is as it must be.

    The graphs have the degrees of a network and otherwise a planted truth: mirrors, nothing but
    degree, blocks, signs that targets decide. Models are trained on two of them.

    Parameters
    ----------
    network, data
        As for :func:`evaluate_links`.
    vertices
        Of a planted graph; 0: as many as the network has, and as many pairs.
    """
    from octoscope.gnn_training.planted_checks import planted_checks

    return planted_checks(_links(network, data), vertices, seed)


def _links(network: Network | str | Path, data: str | None = None) -> Links:
    from octoscope.link_prediction.links import links_of_network, open_links

    if isinstance(network, Network):
        return links_of_network(network.graph)
    return open_links(network, data)
