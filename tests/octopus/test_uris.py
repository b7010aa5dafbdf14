"""Addresses of annotations in SBML."""

from __future__ import annotations

import pytest
from octoscope.octopus.sources.uris import parse_uri


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://reactome.org/content/detail/R-HSA-71403", ("reactome", "R-HSA-71403")),
        ("http://www.ebi.ac.uk/chebi/searchId.do?chebiId=CHEBI:57540", ("chebi", "57540")),
        ("https://purl.uniprot.org/uniprot/P40926", ("uniprot", "P40926")),
        ("http://identifiers.org/ncbigene/1591", ("ncbi_entrez_gene", "1591")),
        ("https://identifiers.org/CHEBI:36927", ("chebi", "36927")),
        ("https://identifiers.org/GO:0005829", ("go", "GO:0005829")),
        ("http://www.ensembl.org/Homo_sapiens/geneview?gene=ENSG00000141510.18",
         ("ensembl_gene", "ENSG00000141510")),
        ("http://www.mirbase.org/cgi-bin/mature.pl?mature_acc=MIMAT0000076",
         ("mirbase", "MIMAT0000076")),
        ("http://www.ncbi.nlm.nih.gov/pubmed/16747180", ("pubmed", "16747180")),
        ("http://identifiers.org/bigg.metabolite/atp", ("bigg_metabolite", "atp")),
        ("urn:miriam:chebi:1", None),
        ("http://[bad/x", None),
        ("http://example.org/x", None),
        ("not a url", None),
    ],
)  # fmt: skip
def test_annotation_addresses(uri: str, expected: tuple[str, str] | None) -> None:
    assert parse_uri(uri) == expected
