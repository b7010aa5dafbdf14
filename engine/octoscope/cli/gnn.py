"""``octoscope gnn``: graph neural networks on a molecular network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from octoscope.cli.link_table import link_table, sign_table, summary
from octoscope.cli.shared import AsJson, Force, out, read_here, rows_json, rows_table, show
from octoscope.errors import InputError

app = typer.Typer(
    help="Score gene pairs with graph neural networks trained on a network.", no_args_is_help=True
)


class Mode(StrEnum):
    """How raw scores become probabilities."""

    CORRECTED = "corrected"
    PEER = "peer"


class Passing(StrEnum):
    """Along which edges messages pass."""

    ALL = "all"
    TRAIN = "train"
    LEAVE_OUT = "leave-out"


Checkpoint = Annotated[
    Path,
    read_here("Checkpoint: napistu-torch folder or .ckpt, or Octoscope's folder"),
]
Graph = Annotated[
    str | None,
    typer.Option(
        "--graph", help="Folder of `gnn graph`, napistu-torch store, Octopus directory, or 'demo'"
    ),
]
Data = Annotated[str | None, typer.Option("--data", help="Name of the data of a store")]


@app.command()
def inspect(
    checkpoint: Checkpoint, graph: Graph = None, data: Data = None, as_json: AsJson = False
) -> None:
    """Say what a checkpoint holds, and whether a graph is the one that it was trained on."""
    from octoscope.gnn.describe import describe_checkpoint
    from octoscope.gnn.gnn_checkpoint import open_checkpoint
    from octoscope.gnn.open_graph import misfits, not_compared, open_with_identifiers

    opened = open_checkpoint(checkpoint)
    said: dict[str, Any] = describe_checkpoint(opened)
    problems: list[str] = []
    if graph is not None:
        found, _ = open_with_identifiers(graph, opened, data)
        problems = misfits(opened, found)
        said["graph"] = found.summary() | {
            "fits": not problems, "problems": problems,
            "not_compared": not_compared(opened, found),
        }  # fmt: skip

    def table() -> Table:
        rows = {k: v for k, v in said.items() if k not in ("graph", "corrections")}
        for i, fault in enumerate(said["corrections"]):
            rows["corrected" if i == 0 else " " * i] = fault
        for key, value in said.get("graph", {}).items():
            rows[f"graph: {key}"] = value
        return rows_table(str(checkpoint), rows)

    show(said, as_json, table)
    if problems:
        raise InputError(
            str(graph),
            f"is not the graph of the checkpoint: {'; '.join(problems)}",
            "give the graph that the checkpoint was trained on",
        )


@app.command("graph")
def graph_(
    source: Annotated[
        str, typer.Argument(help="napistu-torch store, Octopus directory, or 'demo'")
    ],
    target: Annotated[Path, typer.Argument(help="Folder to make")],
    data: Data = None,
    structure: Annotated[
        bool,
        typer.Option(
            "--structure",
            help="Add degrees and spectral coordinates of training edges to the features",
        ),
    ] = False,
) -> None:
    """Write a graph as arrays that open at once: features, edges, splits, names, digests."""
    from octoscope.gnn.graph_folder import write_graph
    from octoscope.gnn.open_graph import open_with_identifiers

    graph, identifiers = open_with_identifiers(source, None, data)
    if identifiers is None:
        raise InputError(source, "is such a folder already", "use it as it is")
    if structure:
        from octoscope.gnn_training.structural_features import with_structure

        graph = with_structure(graph)
    write_graph(graph, identifiers, target)
    said = graph.summary()
    out.print(
        f"{said['vertices']:,} vertices with {said['vertex_features']} features, "
        f"{said['edges']:,} edges with {said['edge_features']}, {said['genes']:,} genes in "
        f"{escape(str(target))}",
        soft_wrap=True,
    )


@app.command()
def convert(
    checkpoint: Checkpoint,
    target: Annotated[Path, typer.Argument(help="Folder to make")],
    graph: Graph = None,
    data: Data = None,
) -> None:
    """Write a checkpoint as safetensors and JSON; with --graph it states the graph's digests."""
    from octoscope.gnn.gnn_checkpoint import open_checkpoint, write_checkpoint
    from octoscope.gnn.open_graph import open_graph

    opened = open_checkpoint(checkpoint)
    digests = open_graph(graph, opened, data).digests if graph is not None else None
    write_checkpoint(opened, target, digests)
    out.print(escape(str(target)), soft_wrap=True)


@app.command()
def score(
    checkpoint: Checkpoint,
    graph: Annotated[str, typer.Option("--graph", help="As in `gnn inspect`")],
    pairs: Annotated[
        Path,
        typer.Option(
            help="Table: src, dst (vertices) or query, key (genes); relation or relation_type"
        ),
    ],
    target: Annotated[Path, typer.Option("--out", help="File to write: .parquet, .tsv or .csv")],
    mode: Annotated[
        Mode, typer.Option(help="peer: probabilities as napistu-torch gives them")
    ] = Mode.CORRECTED,
    message_passing: Annotated[
        list[Passing] | None,
        typer.Option(
            help="Edges that carry messages: all, those of training, or all but the pair's own. "
            "Repeat for several, side by side.  [default: all]"
        ),
    ] = None,
    data: Data = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for embeddings [default: ~/.cache/octoscope/gnn]")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Encode again")] = False,
    force: Force = False,
) -> None:
    """Score pairs of genes or vertices."""
    from octoscope.gnn.embeddings import cache_folder
    from octoscope.gnn.gnn_checkpoint import open_checkpoint
    from octoscope.gnn.open_graph import open_graph
    from octoscope.gnn.pair_table import read_pair_table
    from octoscope.gnn.score_table import PASSINGS, score_table
    from octoscope.octopus.pair_files import write_table
    from octoscope.output_files import new_file

    opened = open_checkpoint(checkpoint)
    with new_file(target, force=force, inputs=[checkpoint, graph, pairs]) as file:
        found = open_graph(graph, opened, data)
        table = read_pair_table(pairs, found, opened.relations)
        asked = {p.value for p in message_passing or [Passing.ALL]}
        passings = [p for p in PASSINGS if p in asked]
        folder = None if no_cache else cache or cache_folder()
        scores = score_table(opened, found, table, mode.value, passings, folder)
        write_table(scores, file, target)
    mapped = int(scores["edge"].notna().sum())
    known = int(scores["split"].eq("train").sum())
    joined = int(scores["edge"].isin(["forward", "backward", "both"]).sum())
    out.print(
        f"{len(scores):,} pairs, {mapped:,} scored, {len(scores) - mapped:,} without a vertex; "
        f"edges of the graph: {joined:,}, of these in training: {known:,}",
        soft_wrap=True,
    )
    out.print(escape(table.said), soft_wrap=True)


@app.command()
def relations(
    checkpoint: Checkpoint,
    permutations: Annotated[int, typer.Option(min=99, max=1_000_000)] = 10_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    target: Annotated[
        Path | None, typer.Option("--out", help="File to write: .parquet, .tsv or .csv")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare the embeddings of the relations of a head, with a permutation null."""
    from octoscope.gnn.gnn_checkpoint import open_checkpoint
    from octoscope.gnn.relation_geometry import relation_geometry
    from octoscope.octopus.pair_files import write_table
    from octoscope.output_files import new_file

    found = relation_geometry(open_checkpoint(checkpoint), permutations, seed)
    if target is not None:
        with new_file(target, force=force, inputs=[checkpoint]) as file:
            write_table(found, file, target)
    if as_json:
        typer.echo(rows_json(found))
        return
    title = f"{checkpoint} ({len(found)} pairs, n = {found['n'].iloc[0]} columns)"
    table = Table("relations", "similarity", "null 95 %", "p", "q", title=title)
    for row in found.sort_values("p").itertuples():
        table.add_row(
            escape(f"{row.relation_a} | {row.relation_b}"), f"{row.similarity:.3f}",
            f"{row.null_low:.3f} to {row.null_high:.3f}", f"{row.p:.4g}", f"{row.q:.4g}",
        )  # fmt: skip
    out.print(table)


@app.command()
def train(
    config: Annotated[Path, read_here("YAML of settings; see docs/gnn.md")],
    graph: Annotated[str, typer.Option("--graph", help="As in `gnn inspect`")],
    target: Annotated[Path, typer.Option("--out", help="New, or of a training to go on with")],
    data: Data = None,
) -> None:
    """Train a graph neural network on the links of a graph; goes on where it was stopped."""
    from octoscope.gnn.open_graph import open_graph
    from octoscope.gnn_training.train import train as train_
    from octoscope.gnn_training.train_config import load_train_config
    from octoscope.output_files import require_outside

    require_outside(target, [config, *([] if graph == "demo" else [graph])])
    made = train_(
        open_graph(graph, None, data), load_train_config(config), target,
        lambda line: out.print(escape(line), soft_wrap=True),
    )  # fmt: skip
    out.print(escape(str(made)), soft_wrap=True)


@app.command()
def report(
    evaluations: Annotated[list[Path], typer.Argument(help="Folders that `gnn evaluate` wrote")],
    target: Annotated[Path, typer.Option("--out", help="HTML file to write")],
    force: Force = False,
) -> None:
    """Write a page that shows models beside rules without a model."""
    from octoscope.link_prediction.evaluation_files import read_evaluation
    from octoscope.output_files import new_file
    from octoscope.report.links_page import links_page

    found = [(folder.resolve().name, read_evaluation(folder)) for folder in evaluations]
    with new_file(target, force=force, inputs=evaluations) as file:
        file.write_bytes(links_page(found))
    typer.echo(str(target))


@app.command()
def evaluate(
    network: Annotated[
        str, typer.Argument(help="Octopus directory, 'demo', folder of `gnn graph`, or store")
    ],
    checkpoints: Annotated[
        list[Path] | None,
        read_here("Checkpoints that were trained on it"),
    ] = None,
    target: Annotated[Path | None, typer.Option("--out", help="Folder to make")] = None,
    split: Annotated[
        str,
        typer.Option(
            help="pair, vertex, source (with --source), release (with --older), graph (the one "
            "that the graph states); with --peer also edge"
        ),
    ] = "pair",
    source: Annotated[str | None, typer.Option(help="Its own pairs are test")] = None,
    older: Annotated[
        str | None, typer.Option(help="The network in an older release; new pairs are test")
    ] = None,
    negatives: Annotated[
        list[str] | None,
        typer.Option(
            help="degree, stratified, uniform, two-hop, peer; repeat for several.  "
            "[default: degree, uniform]"
        ),
    ] = None,
    floors: Annotated[
        list[str] | None, typer.Option(help="Repeat for several.  [default: all]")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    positives: Annotated[
        int, typer.Option(min=100, help="At most so many edges of val and of test")
    ] = 20_000,
    queries: Annotated[int, typer.Option(min=0, help="Test edges to rank")] = 500,
    candidates: Annotated[int, typer.Option(min=1, help="Targets to rank each among")] = 200,
    data: Data = None,
    peer: Annotated[
        bool, typer.Option("--peer", help="Allow the split by directed edge, which leaks")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well edges are predicted: rules without a model, and checkpoints beside them."""
    from octoscope.link_prediction.evaluate_links import Settings, evaluate_links
    from octoscope.link_prediction.evaluation_files import write_evaluation
    from octoscope.link_prediction.links import open_links
    from octoscope.link_prediction.splits import split_links
    from octoscope.output_files import require_new

    if target is not None:
        inputs = [*(checkpoints or ()), *([] if network == "demo" else [network])]
        require_new(target, inputs=inputs, what="folder")
    links = open_links(network, data)
    before = None if older is None else open_links(older)
    divided = split_links(links, split, seed=seed, source=source, older=before, peer=peer)
    settings = Settings(
        tuple(negatives or ("degree", "uniform")), tuple(floors or ()), seed, positives, queries,
        candidates,
    )  # fmt: skip
    found = evaluate_links(links, divided, checkpoints or (), settings)
    if target is not None:
        write_evaluation(found, target)
    if as_json:
        typer.echo(summary(found))
        return
    out.print(link_table(found))
    if len(found.signs):
        out.print(sign_table(found))
    if target is not None:
        out.print(escape(str(target)), soft_wrap=True)
