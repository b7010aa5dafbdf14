"""`octoscope gnn planted`: what must be seen is seen, and each mistake turns a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from octoscope.cli.app import app
from octoscope.errors import InputError
from octoscope.gnn_training import planted_checks as module
from octoscope.gnn_training import weighted_edges
from octoscope.gnn_training.planted_checks import Check, case_checks
from octoscope.gnn_training.train_config import TrainConfig
from octoscope.link_prediction import evaluate_links, negatives, splits
from octoscope.link_prediction.floors import FLOORS
from octoscope.link_prediction.links import Links, open_links
from octoscope.link_prediction.planted import Degrees, degrees_of
from threadpoolctl import threadpool_info
from typer.testing import CliRunner

from tests.test_user_folder import COMMAND, call, hostile_folder


@pytest.fixture(scope="module")
def degrees() -> Degrees:
    return degrees_of(open_links("demo"), 800)


def test_the_command_holds_on_the_embedded_network(tmp_path: Path) -> None:
    """It runs beside packages of the user's own, as the commands of test_user_folder.py do."""
    done = call(hostile_folder(tmp_path / "mine"), COMMAND, "gnn", "planted", "--json")
    rows = {(r["graph"], r["figure"]): r for r in json.loads(done.stdout)}
    assert all(r["holds"] and r["low"] <= r["value"] <= r["high"] for r in rows.values())
    assert {graph for graph, _ in rows} == {
        "mirrors", "degree alone", "degree alone, models", "blocks", "signs by target",
        "parallel edges", "gradients",
    }  # fmt: skip
    for graph, scorers in (("degree alone", FLOORS), ("degree alone, models", module.models_of())):
        assert {w for g, w in rows if g == graph} == {f"AUC of {scorer}" for scorer in scorers}


def test_every_encoder_and_every_head_stands_on_degree_alone() -> None:
    models = module.models_of().values()
    for setting in ("encoder", "head", "directed"):
        kind = TrainConfig.model_fields[setting].annotation
        kinds = {True, False} if kind is bool else set(get_args(kind))
        assert {getattr(m, setting) for m in models} == kinds
    assert {m.encoder for m in models if m.edge_encoder} == {"gcn", "graph_conv"}


def failing(checks: list[Check]) -> list[str]:
    return [c.what for c in checks if not c.holds]


def test_a_split_that_leaks_mirrors_turns_a_line(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failing(list(case_checks("mirrors", degrees))) == []
    edge = lambda links, seed: np.random.default_rng(seed).random(len(links.src))  # noqa: E731
    monkeypatch.setattr(splits, "_share", edge)
    assert failing(list(case_checks("mirrors", degrees))) == [
        "AUC of the mirror rule, split by pair"
    ]


def test_positives_among_negatives_turn_a_line(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the negatives are training edges: all that knows training ranks them first."""
    real = negatives.draw_negatives

    def leaking(links: Links, split: splits.Split, *rest: Any) -> negatives.Negatives:
        drawn = real(links, split, *rest)
        train = split.rows("train")
        rows = np.random.default_rng(0).choice(train, len(drawn.src) // 2, replace=False)
        drawn.src[: len(rows)], drawn.dst[: len(rows)] = links.src[rows], links.dst[rows]
        return drawn

    monkeypatch.setattr(evaluate_links, "draw_negatives", leaking)
    checks = list(case_checks("degree alone", degrees))
    assert "AUC of personalised_pagerank" in failing(checks)


def test_a_test_edge_in_message_passing_turns_a_line(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All edges are in the adjacency of the rules. Of checkpoints: test_evaluate_links.py."""
    real = evaluate_links.train_adjacency
    monkeypatch.setattr(
        evaluate_links, "train_adjacency",
        lambda links, split: real(links, splits.Split("pair", np.ones_like(split.part), {}, "")),
    )  # fmt: skip
    checks = list(case_checks("degree alone", degrees))
    assert "AUC of personalised_pagerank" in failing(checks)
    assert "AUC of stacked" in failing(checks)


@pytest.mark.parametrize("case", ["parallel edges", "gradients"])
@pytest.mark.parametrize("mistake", ["features", "edge weights"])
def test_a_wrong_gradient_turns_its_line(
    degrees: Degrees, monkeypatch: pytest.MonkeyPatch, case: str, mistake: str
) -> None:
    """The last entry of a matrix is left out on the way back."""
    assert failing(list(case_checks(case, degrees))) == []
    real = weighted_edges._Product.backward

    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        of_x, of_values, *rest = real(ctx, gradient)
        wrong = of_x if mistake == "features" else of_values
        wrong[-1 if mistake == "edge weights" else int(wrong.abs().sum(1).argmax())] = 0
        return of_x, of_values, *rest

    monkeypatch.setattr(weighted_edges._Product, "backward", staticmethod(backward))
    wrong = failing(list(case_checks(case, degrees)))
    assert len(wrong) == 1
    assert f"gradient of {mistake} " in wrong[0]


def test_a_line_that_does_not_hold_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "planted_checks",
                        lambda *_: iter([Check("blocks", "AUC", 0.5, 0.6, 1.0, 10)]))  # fmt: skip
    done = CliRunner().invoke(app, ["gnn", "planted"])
    assert isinstance(done.exception, InputError)
    assert "does not hold" in done.output
    assert "AUC is 0.500, not 0.6 to 1" in str(done.exception)


def test_checks_run_on_one_thread(degrees: Degrees, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads of a busy machine took ten times the processor time of one."""
    seen: list[set[int]] = []

    def case(*_: Any) -> Iterator[Check]:
        pools = {pool["num_threads"] for pool in threadpool_info()}
        seen.append(pools | {torch.get_num_threads()})
        yield Check("threads", "", 0, 0, 0, 0)

    monkeypatch.setitem(module.CASES, "threads", case)
    torch.set_num_threads(2)
    for _ in case_checks("threads", degrees):
        assert torch.get_num_threads() == 2
    assert seen == [{1}]


def test_degrees_are_cut_where_chance_would_join_hubs(degrees: Degrees) -> None:
    assert degrees.n == 800
    assert degrees.weight.sum() == pytest.approx(1)
    assert 2 * degrees.pairs * degrees.weight.max() ** 2 < 0.34
    whole = degrees_of(open_links("demo"))
    assert whole.n > 11_000
    assert 2 * whole.pairs * whole.weight.max() ** 2 < 0.34
    assert whole.weight.max() / np.median(whole.weight) > 10  # and hubs are still hubs


def test_more_vertices_than_the_network_has_are_refused() -> None:
    """Red: 10^9 are taken as all."""
    with pytest.raises(InputError, match=r"vertices: 1,000,000,000; .* have a link"):
        degrees_of(open_links("demo"), 10**9)
    assert degrees_of(open_links("demo"), 3000).pairs  # the default, also of a smaller network
