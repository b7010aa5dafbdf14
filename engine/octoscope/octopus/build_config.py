"""Configuration of an Octopus build: files of the sources, in one YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from octoscope.config import read_yaml, validated
from octoscope.config.types import Name, Section
from octoscope.octopus.sources.edge_layouts import Layout, Role
from octoscope.octopus.sources.reactome import ORGANISMS

START = "start from the example in the documentation (docs/octopus.md)"


class _Source(Section):
    release: str = Field("unknown", description="Version of the files, for the record")


class AnnotationFiles(_Source):
    """Gene annotation: symbols and ids of genes and proteins."""

    path: Path = Field(description="Table (tsv, csv, parquet) or org.Hs.eg.sqlite")
    as_source: bool = Field(
        True, description="Join species by it too (the source Dogma), not only look symbols up"
    )


class StringFiles(_Source):
    """STRING's links and aliases."""

    links: Path = Field(
        description="9606.protein.links.full.v*.txt(.gz); links.detailed, links and those of the "
        "physical subnetwork as well"
    )
    aliases: Path = Field(description="9606.protein.aliases.v*.txt(.gz)")
    locations: Path | None = Field(
        None,
        description="Human Protein Atlas subcellular_location.tsv: pairs of proteins that share no "
        "location are dropped; null: none is",
    )


class IntActFiles(_Source):
    """IntAct's PSI-MI XML 3.0."""

    path: Path = Field(description="psi30/species/human.zip, its folder, or one XML file")
    ontology: Path | None = Field(
        None, description="psi-mi.obo or psimiOntology.json; null: a short list of frequent terms"
    )


class ReactomeFiles(_Source):
    """Reactome's SBML export."""

    sbml: Path = Field(description="all_species.*.sbml.tgz, or a folder of *.sbml")
    pathways: Path | None = Field(None, description="ReactomePathways.txt")


class OneFile(_Source):
    """A source of one file."""

    path: Path


class EdgeList(OneFile):
    """An edge list of your own."""

    name: Name
    ids: Name | None = Field(
        None, description="Ontology of both ends; null: that of a known layout, else symbol"
    )
    columns: dict[Role, str | Annotated[int, Field(ge=1, le=10**5)]] = Field(
        default_factory=dict,
        description="What a column holds: role -> its name, or its number from 1",
    )
    values: dict[Role, dict[str, str | int | bool]] = Field(
        default_factory=dict,
        description="Role -> value of the file -> what it stands for; up* stands for any ending",
    )
    keep: dict[str, list[str]] = Field(
        default_factory=dict, description="Column -> values of the rows that are read"
    )
    directed: bool | None = Field(
        None,
        description="Whether rows that tell nothing of an order have one; null: yes, with a "
        "warning",
    )
    header: bool | None = Field(
        None, description="Whether the first line names the columns; null: decided by the line"
    )
    score_max: float = Field(1.0, gt=0, le=1e18, description="What scores are divided by")

    def layout(self) -> Layout:
        """Return what is said of the columns."""
        return Layout(
            columns={role: (column,) for role, column in self.columns.items()},
            values={role: dict(values) for role, values in self.values.items()},
            keep={column: tuple(values) for column, values in self.keep.items()},
            directed=self.directed, header=self.header, score_max=self.score_max,
        )  # fmt: skip


class Sources(Section):
    """Files of each source; absent sources are left out."""

    STRING: StringFiles | None = None
    IntAct: IntActFiles | None = None
    OmniPath: OneFile | None = None
    Reactome: ReactomeFiles | None = None
    reactome_fi: OneFile | None = Field(None, alias="Reactome-FI")
    TRRUST: OneFile | None = None
    Recon3D: OneFile | None = None
    edge_lists: list[EdgeList] = Field(default_factory=list)


class OctopusConfig(Section):
    """Everything that decides the content of a built Octopus directory."""

    name: str = Field("Octopus", max_length=200)
    mode: Literal["peer", "corrected"] = Field(
        "corrected", description="peer: with the data defects of napistu 0.11; corrected: without"
    )
    taxon: int = Field(
        9606, gt=0, le=10**9, description="Organism, as its number in NCBI's taxonomy"
    )
    annotation: AnnotationFiles | None = None
    sources: Sources
    cofactors: Literal["drop", "keep"] = Field(
        "drop", description="Water, ATP and their like leave the reactions that only use them"
    )

    def model_post_init(self, _: Any) -> None:
        """Check that something is built and names are distinct.

        Raises
        ------
        ValueError
            If there is no source, or a name is used twice.
        """
        named = [n for n in type(self.sources).model_fields if getattr(self.sources, n)]
        if not named:
            raise ValueError("sources: name at least one")
        names = [e.name for e in self.sources.edge_lists]
        human = [n for n, own in (("Reactome-FI", self.sources.reactome_fi),
                                  ("Recon3D", self.sources.Recon3D)) if own]  # fmt: skip
        if self.taxon != 9606 and human:
            raise ValueError(
                f"taxon {self.taxon}: {human[0]} is published for human (9606) only; leave it out"
            )
        if str(self.taxon) not in ORGANISMS and self.sources.Reactome:
            raise ValueError(
                f"taxon {self.taxon}: Reactome publishes pathways of {', '.join(ORGANISMS)}; "
                "leave it out"
            )
        if self.taxon not in (9606, 10090) and self.sources.TRRUST:
            raise ValueError(
                f"taxon {self.taxon}: TRRUST is published for human (9606) and mouse (10090); "
                "leave it out"
            )
        taken = {"STRING", "IntAct", "OmniPath", "Reactome", "Reactome-FI", "TRRUST", "Recon3D",
                 "Dogma"}  # fmt: skip
        for name in names:
            if names.count(name) > 1 or name in taken:
                raise ValueError(f"sources.edge_lists: the name {name!r} is taken")


def load_octopus_config(path: str | Path) -> OctopusConfig:
    """Read the YAML of a build; relative paths are the file's.

    Raises
    ------
    InputError
        Naming the field that is wrong.
    """
    path = Path(path)
    config = validated(OctopusConfig, read_yaml(path), str(path), START)
    _anchor(config, path.absolute().parent)
    return config


def _anchor(section: BaseModel, base: Path) -> None:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            setattr(section, name, base / value)
        elif isinstance(value, BaseModel):
            _anchor(value, base)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, BaseModel):
                    _anchor(item, base)
