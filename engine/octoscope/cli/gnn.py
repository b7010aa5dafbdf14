"""``octoscope gnn``: graph neural networks on a molecular network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from octoscope.cli.gnn_checks import perturbations, planted
from octoscope.cli.link_table import link_table, sign_table, summary
from octoscope.cli.shared import (
    LAST_SEED,
    MOST,
    AsJson,
    Force,
    StoreData,
    TableOut,
    out,
    read_here,
    rows_json,
    rows_table,
    show,
)
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


class Device(StrEnum):
    """Where scores are computed."""

    CPU = "cpu"
    CUDA = "cuda"


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


@app.command()
def inspect(
    checkpoint: Checkpoint, graph: Graph = None, data: StoreData = None, as_json: AsJson = False
) -> None:
    """Say what a checkpoint holds, and whether a graph is the one that it was trained on."""
    from octoscope.api.gnn import open_gnn

    opened = open_gnn(checkpoint)
    description: dict[str, Any] = opened.describe()
    problems: list[str] = []
    if graph is not None:
        description["graph"] = opened.fit(graph, data=data)
        problems = description["graph"]["problems"]

    def table() -> Table:
        rows = {k: v for k, v in description.items() if k not in ("graph", "corrections")}
        for i, fault in enumerate(description["corrections"]):
            rows["corrected" if i == 0 else " " * i] = fault
        for key, value in description.get("graph", {}).items():
            rows[f"graph: {key}"] = value
        return rows_table(str(checkpoint), rows)

    show(description, as_json, table)
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
    data: StoreData = None,
    structure: Annotated[
        bool,
        typer.Option(
            "--structure",
            help="Add degrees and spectral coordinates of training edges to the features",
        ),
    ] = False,
) -> None:
    """Write a graph as arrays that open at once: features, edges, splits, names, digests."""
    from octoscope.api.gnn import open_graph
    from octoscope.output_files import require_new_folder

    require_new_folder(target, [] if source == "demo" else [source])
    graph = open_graph(source, data=data)
    if structure and graph.identifiers is not None:
        graph = graph.with_structure()
    graph.save(target)
    counts = graph.summary()
    out.print(
        f"{counts['vertices']:,} vertices with {counts['vertex_features']} features, "
        f"{counts['edges']:,} edges with {counts['edge_features']}, {counts['genes']:,} genes in "
        f"{escape(str(target))}",
        soft_wrap=True,
    )


@app.command()
def convert(
    checkpoint: Checkpoint,
    target: Annotated[Path, typer.Argument(help="Folder to make")],
    graph: Graph = None,
    data: StoreData = None,
) -> None:
    """Write a checkpoint as safetensors and JSON; with --graph it states the graph's digests."""
    from octoscope.api.gnn import open_gnn
    from octoscope.output_files import require_new_folder

    require_new_folder(target, [checkpoint])
    open_gnn(checkpoint).save(target, graph=graph, data=data)
    out.print(escape(str(target)), soft_wrap=True)


@app.command()
def score(
    checkpoints: Annotated[
        list[Path], read_here("One checkpoint, or several: Ray scores them side by side")
    ],
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
    data: StoreData = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for embeddings [default: ~/.cache/octoscope/gnn]")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Encode again")] = False,
    device: Annotated[Device, typer.Option(help="Where to compute")] = Device.CPU,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Ray cluster for the checkpoints; default: local"),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `gnn evaluate` with the checkpoints: adds calibrated probabilities",
            readable=False,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Score pairs of genes or vertices."""
    from octoscope.api.gnn import score_gnns
    from octoscope.api.tables import require_table, write_table

    inputs: list[str | Path] = [*checkpoints, graph, pairs, *([calibration] if calibration else [])]
    require_table(target, force=force, inputs=inputs)
    scored = score_gnns(
        checkpoints, pairs, graph, data=data, mode=mode.value,
        message_passing=[p.value for p in message_passing or [Passing.ALL]],
        cache=False if no_cache else cache or True, device=device.value, address=address,
        calibration=calibration,
    )  # fmt: skip
    write_table(scored.table, target, force=force, inputs=inputs)
    several = len(checkpoints) > 1
    names = scored.table["checkpoint"].unique().tolist() if several else [None]
    for name in names:
        scores = scored.table if name is None else scored.table[scored.table["checkpoint"] == name]
        mapped = int(scores["edge"].notna().sum())
        known = int(scores["split"].eq("train").sum())
        joined = int(scores["edge"].isin(["forward", "backward", "both"]).sum())
        out.print(
            f"{'' if name is None else f'{escape(name)}: '}{len(scores):,} pairs, {mapped:,} "
            f"scored, {len(scores) - mapped:,} without a vertex; edges of the graph: {joined:,}, "
            f"of these in training: {known:,}",
            soft_wrap=True,
        )
    out.print(escape(scored.names_as), soft_wrap=True)


@app.command()
def relations(
    checkpoint: Checkpoint,
    permutations: Annotated[int, typer.Option(min=99, max=1_000_000)] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=LAST_SEED)] = 0,
    target: TableOut = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare the embeddings of the relations of a head, with a permutation null."""
    from octoscope.api.gnn import open_gnn
    from octoscope.api.tables import require_table, write_table

    if target is not None:
        require_table(target, force=force, inputs=[checkpoint])
    similarities = open_gnn(checkpoint).relations(permutations=permutations, seed=seed)
    if target is not None:
        write_table(similarities, target, force=force, inputs=[checkpoint])
    if as_json:
        typer.echo(rows_json(similarities))
        return
    title = f"{checkpoint} ({len(similarities)} pairs, n = {similarities['n'].iloc[0]} columns)"
    table = Table("relations", "similarity", "null 95 %", "p", "q", title=title)
    for row in similarities.sort_values("p").itertuples():
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
    data: StoreData = None,
) -> None:
    """Train a graph neural network on the links of a graph; goes on where it was stopped."""
    from octoscope.api.gnn import train_gnn

    checkpoint = train_gnn(
        config, graph, target, data=data, say=lambda line: out.print(escape(line), soft_wrap=True)
    )
    out.print(escape(str(checkpoint)), soft_wrap=True)


@app.command()
def report(
    evaluations: Annotated[list[Path], typer.Argument(help="Folders that `gnn evaluate` wrote")],
    target: Annotated[Path, typer.Option("--out", help="HTML file to write")],
    force: Force = False,
) -> None:
    """Write a page that shows models beside rules without a model."""
    from octoscope.api.links import write_links_report
    from octoscope.output_files import require_new

    require_new(target, force=force, inputs=evaluations)
    write_links_report(evaluations, target, force=force)
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
    seed: Annotated[int, typer.Option(min=0, max=LAST_SEED)] = 0,
    positives: Annotated[
        int, typer.Option(min=100, max=MOST, help="At most so many edges of val and of test")
    ] = 20_000,
    queries: Annotated[int, typer.Option(min=0, max=MOST, help="Test edges to rank")] = 500,
    candidates: Annotated[
        int, typer.Option(min=1, max=MOST, help="Targets to rank each among")
    ] = 200,
    data: StoreData = None,
    peer: Annotated[
        bool, typer.Option("--peer", help="Allow the split by directed edge, which leaks")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well edges are predicted: rules without a model, and checkpoints beside them."""
    from octoscope.api.links import evaluate_links, save_evaluation
    from octoscope.output_files import require_new_folder

    if target is not None:
        require_new_folder(
            target, [*(checkpoints or ()), *([] if network == "demo" else [network])]
        )
    evaluation = evaluate_links(
        network, checkpoints or (), split=split, source=source, older=older,
        negatives=negatives or ("degree", "uniform"), floors=floors or (), seed=seed,
        positives=positives, queries=queries, candidates=candidates, peer=peer, data=data,
    )  # fmt: skip
    if target is not None:
        save_evaluation(evaluation, target)
    if as_json:
        typer.echo(summary(evaluation))
        return
    out.print(link_table(evaluation))
    if len(evaluation.signs):
        out.print(sign_table(evaluation))
    if target is not None:
        out.print(escape(str(target)), soft_wrap=True)


app.command()(perturbations)
app.command()(planted)
