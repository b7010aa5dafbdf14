"""Files in the sources' own formats with the published numbers of rows; invented contents.

Numbers of the released Octopus (STRING 11.5 before the location filter, IntAct pairs, OmniPath,
Reactome reactions, Reactome-FI, TRRUST, Recon3D, genes); ids are numbered, so nothing here is
biology.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import yaml
from octoscope.octopus.sources.string import CHANNELS

ROWS = {
    "genes": 19_362, "string": 5_969_249, "intact": 501_437, "omnipath": 277_499,
    "reactome": 15_532, "pathways": 2_500, "fi": 290_000, "trrust": 9_396, "recon3d": 10_600,
}  # fmt: skip
_ALIASES = 150  # lines per protein in STRING's file, of which four are read
_HOMOLOGUES = 13


def ensp(i: int) -> str:
    return f"ENSP{i:011d}"


def uniprot(i: int) -> str:
    return f"P{i % 10}{chr(65 + i // 10 % 26)}{chr(65 + i // 260 % 26)}{i // 6760 % 10}{i // 67600}"


def pairs(n: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct unordered pairs of n things; some things have many."""
    chance = np.cumsum(np.exp(rng.normal(0, 1, n)))
    chance /= chance[-1]
    key = np.zeros(0, np.int64)
    while len(key) < count:
        a, b = np.searchsorted(chance, rng.random((2, count))).astype(np.int64)
        both = np.minimum(a, b) * n + np.maximum(a, b)
        key = np.unique(np.concatenate([key, both[a != b]]))
    key = np.sort(rng.permutation(key)[:count])
    return key // n, key % n


Names = Sequence[tuple[str, str]]  # Ensembl id and symbol of each gene


def write_all(folder: Path, scale: float = 1.0, names: Names = ()) -> Path:
    """Write every file and the configuration of a build; returns the latter.

    ``names``: of the first genes; the others are numbered.
    """
    rng = np.random.default_rng(0)
    rows = {k: max(int(v * scale), 50) for k, v in ROWS.items()}
    rows["genes"] = max(rows["genes"], int((4 * rows["string"]) ** 0.5) + 50)
    genes = rows["genes"]
    names = [*names[:genes], *((f"ENSG{i:011d}", f"GENE{i}") for i in range(len(names), genes))]
    _annotation(folder / "genes.tsv", names)
    _string(folder, names, rows["string"], rng)
    _intact(folder / "human.zip", genes, rows["intact"], rng)
    _omnipath(folder / "omnipath.tsv", genes, rows["omnipath"], rng)
    symbols = [symbol for _, symbol in names]
    _fi(folder / "FIsInGene.txt", symbols, rows["fi"], rng)
    _trrust(folder / "trrust.tsv", symbols, rows["trrust"], rng)
    _reactome(folder, genes, rows["reactome"], rows["pathways"], rng)
    _recon3d(folder / "Recon3D.xml", rows["recon3d"], rng)
    tree = {
        "name": "published numbers of rows, invented contents",
        "annotation": {"path": "genes.tsv"},
        "sources": {
            "STRING": {"links": "9606.protein.links.full.txt.gz", "release": "11.5",
                       "aliases": "9606.protein.aliases.txt.gz",
                       "locations": "subcellular_location.tsv"},
            "IntAct": {"path": "human.zip"},
            "OmniPath": {"path": "omnipath.tsv"},
            "Reactome": {"sbml": "all_species.sbml.tgz", "pathways": "ReactomePathways.txt"},
            "Reactome-FI": {"path": "FIsInGene.txt"},
            "TRRUST": {"path": "trrust.tsv"},
            "Recon3D": {"path": "Recon3D.xml"},
        },
    }  # fmt: skip
    config = folder / "build.yaml"
    config.write_text(yaml.safe_dump(tree))
    return config


def _annotation(path: Path, names: Names) -> None:
    head = "ncbi_entrez_gene\tensembl_gene\tensembl_transcript\tensembl_protein\tuniprot\tsymbol\n"
    lines = (
        f"{i + 1}\t{ensembl}\tENST{i:011d}\t{ensp(i)}\t{uniprot(i)}\t{symbol}\n"
        for i, (ensembl, symbol) in enumerate(names)
    )
    path.write_text(head + "".join(lines))


def _string(folder: Path, names_of: Names, count: int, rng: np.random.Generator) -> None:
    genes = len(names_of)
    a, b = pairs(genes, count, rng)
    names = pa.array([f"9606.{ensp(i)}" for i in range(genes)])
    channels = {}
    for c in CHANNELS:
        values = rng.integers(42, 1000, count, dtype=np.int16)
        channels[c] = np.where(rng.random(count, dtype=np.float32) < 0.2, values, 0)
    channels["combined_score"] = rng.integers(150, 1000, count, dtype=np.int16)
    src, dst = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.lexsort((dst, src))
    data = {c: pa.array(np.concatenate([v, v])[order]) for c, v in channels.items()}
    table = pa.table(
        {"protein1": names.take(pa.array(src[order])), "protein2": names.take(pa.array(dst[order]))}
        | data
    )
    options = pc.WriteOptions(delimiter=" ", include_header=False, quoting_style="none")
    with gzip.open(folder / "9606.protein.links.full.txt.gz", "wb", compresslevel=1) as out:
        out.write((" ".join(table.column_names) + "\n").encode())
        pc.write_csv(table, out, options)
    kinds = ("Ensembl_gene", "Ensembl_transcript", "Ensembl_translation", "Ensembl_UniProt_AC")
    with gzip.open(folder / "9606.protein.aliases.txt.gz", "wt", compresslevel=1) as text:
        text.write("#string_protein_id\talias\tsource\n")
        for i, (ensembl, _) in enumerate(names_of):
            own = (ensembl, f"ENST{i:011d}", ensp(i), uniprot(i))
            lines = [f"9606.{ensp(i)}\t{x}\t{k}\n" for x, k in zip(own, kinds, strict=True)]
            lines += [f"9606.{ensp(i)}\tname {k} of {i}\tBLAST_{k}\n" for k in range(_ALIASES - 4)]
            text.write("".join(lines))
    with (folder / "subcellular_location.tsv").open("w") as text:
        text.write("Gene\tGene name\tReliability\tGO id\n")
        for ensembl, symbol in names_of[: int(genes * 0.65)]:
            where = {int(w) for w in 30 * rng.random(3) ** 2}
            text.write(f"{ensembl}\t{symbol}\tApproved\t"
                       + ";".join(f"Place {w} (GO:{w:07d})" for w in where) + "\n")  # fmt: skip


def _intact(path: Path, genes: int, count: int, rng: np.random.Generator) -> None:
    bait, prey = pairs(genes, count, rng)
    order = np.argsort(bait, kind="stable")
    bait, prey = bait[order], prey[order]
    cut = np.flatnonzero(np.diff(bait, prepend=-1))
    methods = ("pull down", "two hybrid", "x-ray crystallography", "fluorescence microscopy")
    kinds = ("physical association", "association", "direct interaction")

    def named(tag: str, name: str) -> str:
        inner = f"<shortLabel>{name}</shortLabel><fullName>{name}</fullName>"
        return f"<{tag}><names>{inner}</names></{tag}>"

    def interactor(i: int) -> str:
        return (
            f'<interactor id="{i}"><names><shortLabel>gene{i}_human</shortLabel><fullName>protein '
            f'{i}</fullName><alias type="gene name" typeAc="MI:0301">GENE{i}</alias></names><xref>'
            f'<primaryRef db="uniprotkb" dbAc="MI:0486" id="{uniprot(i)}" refType="identity" '
            f'refTypeAc="MI:0356"/><secondaryRef db="intact" dbAc="MI:0469" id="EBI-{i}" '
            'refType="identity" refTypeAc="MI:0356"/><secondaryRef db="ensembl" dbAc="MI:0476" '
            f'id="ENSG{i:011d}" refType="gene product" refTypeAc="MI:0251"/></xref>'
            + named("interactorType", "protein")
            + '<organism ncbiTaxId="9606"><names><shortLabel>human</shortLabel></names></organism>'
            "</interactor>"
        )

    def participant(i: int, role: str) -> str:
        return (
            f'<participant id="{i}"><interactorRef>{i}</interactorRef>'
            + named("biologicalRole", "unspecified role")
            + f"<experimentalRoleList>{named('experimentalRole', role)}</experimentalRoleList>"
            "</participant>"
        )

    head = (
        '<?xml version="1.0" encoding="UTF-8"?><entrySet '
        'xmlns="http://psi.hupo.org/mi/mif300" level="3" version="0" minorVersion="0">'
    )
    groups = np.array_split(cut, 200)
    ends = np.append(cut[1:], len(bait))
    end_of = dict(zip(cut.tolist(), ends.tolist(), strict=True))
    study = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, group in enumerate(groups):
            out = io.StringIO()
            out.write(head)
            for start in group.tolist():
                b, everyone = int(bait[start]), prey[start : end_of[start]].tolist()
                for at in range(0, len(everyone), 4):
                    preys = everyone[at : at + 4]
                    study += 1
                    out.write(
                        "<entry><experimentList><experimentDescription id='1'><bibref><xref>"
                        f'<primaryRef db="pubmed" id="{study % 40_000}"/></xref></bibref>'
                        + named("interactionDetectionMethod", methods[study % 4])
                        + "</experimentDescription></experimentList><interactorList>"
                        + "".join(interactor(i) for i in (b, *preys))
                        + f'</interactorList><interactionList><interaction id="{study}"><names>'
                        f"<shortLabel>i-{study}</shortLabel></names><participantList>"
                        + participant(b, "bait")
                        + "".join(participant(i, "prey") for i in preys)
                        + "</participantList>"
                        + named("interactionType", kinds[study % 3])
                        + "</interaction></interactionList></entry>"
                    )
            out.write("</entrySet>")
            archive.writestr(f"human_{number:03d}.xml", out.getvalue())


def _omnipath(path: Path, genes: int, count: int, rng: np.random.Generator) -> None:
    a, b = pairs(genes, count, rng)
    flags = rng.random((6, count)) < np.array([0.8, 0.6, 0.2, 0.75, 0.55, 0.1])[:, None]
    names = ("is_directed", "is_stimulation", "is_inhibition", "consensus_direction",
             "consensus_stimulation", "consensus_inhibition")  # fmt: skip
    ids = pa.array([uniprot(i) for i in range(genes)])
    table = pa.table(
        {"source": ids.take(pa.array(a)), "target": ids.take(pa.array(b))}
        | {n: pa.array(f) for n, f in zip(names, flags, strict=True)}
        | {n: pa.array(rng.integers(1, 9, count)) for n in ("n_references", "n_sources")}
    )
    with path.open("wb") as out:
        out.write(("\t".join(table.column_names) + "\n").encode())
        pc.write_csv(table, out, pc.WriteOptions(delimiter="\t", include_header=False,
                                                 quoting_style="none"))  # fmt: skip


def _fi(path: Path, symbols: Sequence[str], count: int, rng: np.random.Generator) -> None:
    a, b = pairs(len(symbols), count, rng)
    which = rng.integers(0, 10, count)
    ways = ("-", "-", "-", "-", "-", "->", "<-", "-|", "->", "<->")
    notes = ("predicted",) * 4 + ("complex", "activate", "activated by", "inhibit", "catalyze", "x")
    score = np.where(which < 4, rng.uniform(0.5, 0.99, count), 1)
    with path.open("w") as out:
        out.write("Gene1\tGene2\tAnnotation\tDirection\tScore\n")
        for i, j, w, s in zip(a, b, which, score, strict=True):
            out.write(f"{symbols[i]}\t{symbols[j]}\t{notes[w]}\t{ways[w]}\t{s:.2f}\n")


def _trrust(path: Path, symbols: Sequence[str], count: int, rng: np.random.Generator) -> None:
    a, b = pairs(len(symbols), count, rng)
    kinds = rng.choice(["Activation", "Repression", "Unknown"], count)
    with path.open("w") as out:
        for i, j, kind in zip(a % 800, b, kinds, strict=True):
            out.write(f"{symbols[i]}\t{symbols[j]}\t{kind}\t{i};{j}\n")


_XMLNS = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:bqbiol="http://biomodels.net/biology-qualifiers/"'
)


def _annotated(kind: str, uris: list[str]) -> str:
    items = "".join(f'<rdf:li rdf:resource="{u}" />' for u in uris)
    return f"<bqbiol:{kind}><rdf:Bag>{items}</rdf:Bag></bqbiol:{kind}>"


def _reactome(
    folder: Path, genes: int, reactions: int, pathways: int, rng: np.random.Generator
) -> None:
    """Each reaction lies in about two pathways; every participant carries Reactome's homologues."""

    def species(i: int) -> str:
        detail = "https://reactome.org/content/detail/"
        own = [f"{detail}R-HSA-{i:07d}"]
        own.append(
            f"https://purl.uniprot.org/uniprot/{uniprot(i)}" if i < genes
            else f"http://www.ebi.ac.uk/chebi/searchId.do?chebiId=CHEBI:{i}"
        )  # fmt: skip
        homologues = [f"{detail}R-{k:03d}-{i:07d}" for k in range(_HOMOLOGUES)]
        rdf = _annotated("is", own) + _annotated("isHomologTo", homologues)
        return (
            f'<species boundaryCondition="false" compartment="c1" id="species_{i}" '
            f'name="thing {i} [cytosol]"><annotation><rdf:RDF {_XMLNS}><rdf:Description '
            f'rdf:about="#{i}">{rdf}</rdf:Description></rdf:RDF></annotation></species>'
        )

    things = genes + 3000
    members = rng.integers(0, things, (reactions, 6))
    where = rng.integers(0, pathways, (reactions, 2))
    with (
        tarfile.open(folder / "all_species.sbml.tgz", "w:gz", compresslevel=1) as archive,
        (folder / "ReactomePathways.txt").open("w") as listed,
    ):
        for p in range(pathways):
            listed.write(f"R-HSA-{p}\tpathway {p}\tHomo sapiens\n")
            mine = np.flatnonzero((where == p).any(axis=1))
            text = [
                '<?xml version="1.0"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" '
                'level="3" version="1"><model><listOfSpecies>'
            ]
            text += [species(int(i)) for i in np.unique(members[mine])]
            text.append("</listOfSpecies><listOfReactions>")
            for r in mine.tolist():
                m = members[r].tolist()

                def side(tag: str, ids: list[int], term: str) -> str:
                    kind = "modifierSpeciesReference" if "Mod" in tag else "speciesReference"
                    inner = "".join(
                        f'<{kind} species="species_{i}" stoichiometry="1" sboTerm="SBO:{term}"/>'
                        for i in ids
                    )
                    return f"<{tag}>{inner}</{tag}>"

                text.append(
                    f'<reaction id="r{r}" name="reaction {r}" reversible="false">'
                    + side("listOfReactants", m[:2], "0000010")
                    + side("listOfProducts", m[2:4], "0000011")
                    + side("listOfModifiers", m[4:], "0000013")
                    + "</reaction>"
                )
            text.append("</listOfReactions></model></sbml>")
            body = "".join(text).encode()
            info = tarfile.TarInfo(f"R-HSA-{p}.sbml")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))


def _recon3d(path: Path, reactions: int, rng: np.random.Generator) -> None:
    products, metabolites = 2248, 4140

    def rdf(i: int, uri: str) -> str:
        return (
            f'<annotation><rdf:RDF {_XMLNS}><rdf:Description rdf:about="#{i}">'
            + _annotated("is", [uri])
            + "</rdf:Description></rdf:RDF></annotation>"
        )

    with path.open("w") as out:
        out.write(
            '<?xml version="1.0"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" '
            'xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version2" level="3" '
            'version="1"><model><fbc:listOfGeneProducts>'
        )
        for i in range(products):
            out.write(f'<fbc:geneProduct fbc:id="G_{i}" fbc:label="G_{i}">'
                      + rdf(i, f"http://identifiers.org/ncbigene/{i + 1}")
                      + "</fbc:geneProduct>")  # fmt: skip
        out.write("</fbc:listOfGeneProducts><listOfSpecies>")
        for i in range(metabolites):
            out.write(f'<species id="M_{i}" name="metabolite {i}" compartment="c">'
                      + rdf(i, f"http://identifiers.org/bigg.metabolite/m{i}")
                      + "</species>")  # fmt: skip
        out.write("</listOfSpecies><listOfReactions>")
        for r in range(reactions):
            m, g = rng.integers(0, metabolites, 4), rng.integers(0, products, 2)
            refs = [f'<speciesReference species="M_{i}" stoichiometry="1"/>' for i in m]
            rule = "".join(f'<fbc:geneProductRef fbc:geneProduct="G_{i}"/>' for i in g)
            out.write(
                f'<reaction id="R_{r}" name="reaction {r}" reversible="{str(r % 2 == 0).lower()}">'
                f"<listOfReactants>{refs[0]}{refs[1]}</listOfReactants><listOfProducts>{refs[2]}"
                f"{refs[3]}</listOfProducts><fbc:geneProductAssociation><fbc:or>{rule}</fbc:or>"
                "</fbc:geneProductAssociation></reaction>"
            )
        out.write("</listOfReactions></model></sbml>")
