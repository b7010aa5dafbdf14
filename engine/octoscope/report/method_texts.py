"""How each figure of the page is made, for readers without the documentation; and its terms."""

from __future__ import annotations

from markupsafe import Markup

# name -> title; question, statistic, null and interval, when it fails
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "overlap": (
        "Overlap with the network",
        (
            "Question: are the strongest pairs of a matrix edges of the molecular network more "
            "often than expected? Statistic: the share of top pairs, as unordered pairs of two "
            "network vertices, that an edge joins.",
            "Null: vertices are permuted among those of like degree and like number of eligible "
            "partners. Genes without an eligible pair stay, and genes of one vertex stay together. "
            "Interval: one vertex is left out at a time (jackknife).",
            "It fails as evidence of wiring: co-expression is not controlled here. Hubs alone lift "
            "the rate above that of all eligible pairs, so compare with the null. Where the top "
            "pairs are most of the eligible pairs, every list overlaps.",
        ),
    ),
    "verdict": (
        "Molecular wiring, or only co-expression?",
        (
            "Question: is the overlap more than co-expression explains? Statistic: the odds ratio "
            "of being an edge, of listed against other pairs (Mantel-Haenszel), among pairs of "
            "like degree and expression level (OR0), and of like co-expression too (OR1).",
            "Null: OR1 is at most the upper end of the grey band, which measurement error in "
            "co-expression can leave. Interval: vertices are left out in turn. A layer is beyond "
            "co-expression if, under every control, the lower limit of OR1 exceeds that band by a "
            "tenth, OR1 would still exceed it with ever more cells, observed edges exceed those "
            "that each gene's own degree expects, and the listed pairs have comparable ones.",
            "It fails where a cause was not measured: a verdict is relative to these controls, and "
            "no test can show that another one does not explain it. The list is the longest of at "
            "most a tenth of all pairs, and the control is the one that explains most.",
        ),
    ),
    "profile": (
        "Layers on one axis",
        (
            "Question: how do the layers of a model differ? Statistic: reliability, coherence with "
            "other model groups, the edge rate over its null, and the share of attention on "
            "special tokens, each as the median over the categories of a layer with the smallest "
            "and largest.",
            "Null: the grey band is the median of the nulls of the categories. Interval: there is "
            "none here; those of each category are with the figures below.",
            "It fails as a test. The number of categories is small, and they share a model, so the "
            "spread over them is no interval.",
        ),
    ),
    "reliability": (
        "Reliability",
        (
            "Question: does a matrix repeat in other cells? Statistic: the Pearson correlation of "
            "the two halves of the cells after the row and column effect of each gene is removed "
            "(least squares). The raw correlation is high from these effects alone.",
            "Null: gene labels of one half are permuted, over at most 256 genes. Interval: one "
            "gene is left out at a time.",
            "It fails to speak of new donors where there is no donor column: the halves are then "
            "random cells.",
        ),
    ),
    "layers": (
        "Layers against each other",
        (
            "Question: do two layers of a model rank gene pairs alike? Statistic: the Spearman "
            "correlation over the union of the top pairs of all of its layers.",
            "Null: gene labels of one layer are permuted. The test takes the 1,000 strongest pairs "
            "of the two layers and chooses them again in every permutation. Interval: one gene is "
            "left out at a time.",
            "It fails as a measure of how alike whole layers are: these layers chose the pairs, so "
            "the size of the correlation is descriptive.",
        ),
    ),
    "agreement": (
        "Agreement of models",
        (
            "Question: are the strongest pairs of one matrix strong in another? Statistic: the "
            "median quantile that they have there. 0 is perfect agreement, 0.5 is chance.",
            "Null: gene labels of the evaluated matrix are permuted. Interval: 20 random groups of "
            "genes are left out in turn. q is adjusted over all comparisons of a gene set, view "
            "and K.",
            "It fails where K is a large share of all eligible pairs: every list then agrees.",
        ),
    ),
    "coherence": (
        "Coherence of a layer",
        (
            "Question: do other model groups find the strongest pairs of this layer? Statistic: "
            "the mean of -log10 of twice the median quantile over the layers of a model, then the "
            "models of a group, then the other groups. 0 is chance or worse.",
            "Null: gene labels of the evaluated matrices are permuted. Interval: 20 groups of "
            "genes are left out in turn.",
            "It fails as evidence of wiring: models that saw like cells share co-expression. Where "
            "K is a large share of all eligible pairs, every list is found.",
        ),
    ),
    "enrichment": (
        "Coherence against enrichment",
        (
            "Question: are the layers whose strongest pairs other model groups find also those "
            "whose strongest pairs are edges? Statistic: the Spearman correlation, over the layers "
            "of a model group, of coherence and of the edge rate over its null.",
            "Null: the genes of the group are permuted among those of like degree and like number "
            "of eligible partners, together in all of its models and layers, and their lists are "
            "looked up anew in the other models and in the network. Interval: 20 groups of genes "
            "are left out in turn; it is wider than it need be.",
            "It fails where layers are few or alike: neighbouring layers list the same pairs, so "
            "the number of layers says little about how sure it is. Pairs of strong co-expression "
            "are found by other models and are edges too: a correlation is no evidence of wiring. "
            "With fewer than three layers it is not "
            "defined.",
        ),
    ),
    "scores": (
        "Coherence against the score of a graph neural network",
        (
            "Question: do the layers whose strongest pairs other model groups find hold pairs that "
            "the network suggests? Statistic: the Spearman correlation, over the layers of a model "
            "group, of coherence and of the median score less its null mean.",
            "A pair is scored without the edges of its own. Null: the genes of a group are "
            "permuted together, as for coherence against enrichment, and its lists are looked up "
            "anew in the other models and among the scores. Interval: 20 groups of genes are left "
            "out in turn.",
            "It fails as evidence of wiring: a score was learned from the network. It rises with "
            "enrichment, and pairs of strong co-expression have both. With fewer than three layers "
            "it is not defined.",
        ),
    ),
    "consensus": (
        "Consensus networks",
        (
            "Question: which pairs are strong in several model groups? Statistic: the layers of a "
            "model are combined; the score of a pair is the mean over model groups of -log10 of "
            "its quantile. A group that cannot rank a pair counts as chance.",
            "Null: each group's genes are relabelled; this tests whether more pairs are shared "
            "than by unrelated lists. Single pairs have no null. Interval: there is none; single "
            "pairs have the scores of both halves of the cells.",
            "It fails as evidence of wiring: groups that saw like cells share co-expression.",
        ),
    ),
    "estimators": (
        "Mean of the attention, attention of the mean cell",
        (
            "Question: does the attention of the mean cell find what the mean of each cell's "
            "attention finds? Statistic: the median quantile that the strongest pairs of the one "
            "have in the other. 0 is perfect agreement, 0.5 is chance.",
            "Null: gene labels of the evaluated matrix are permuted. Interval: 20 random groups of "
            "genes are left out in turn.",
            "It fails where K is a large share of all eligible pairs: every list then agrees.",
        ),
    ),
    "geometry": (
        "Residual geometry",
        (
            "Question: are the same genes alike in two residual streams? Statistic: the Spearman "
            "correlation between the cosine similarities of genes in the streams of two mean "
            "cells.",
            "Null: gene labels are permuted, over at most 256 genes. Interval: one gene is left "
            "out at a time.",
            "It fails as a statement on attention, which it does not read. Hubs that both streams "
            "share are enough for a small p.",
        ),
    ),
    "timeline": (
        "Time and resources",
        (
            "The driver notes when the first piece of each stage begins and when the last one "
            "ends; analyses run one after the other. Seconds of pieces add up over actors. A "
            "resumed run shows the stages of the driver that finished it alone; its hours count "
            "those before too.",
        ),
    ),
    "mass": (
        "Attention mass",
        (
            "Question: how much attention do the matrices hold? Statistic: the share of the "
            "attention of a query gene on accumulated genes (kept), on other genes "
            "(outside) and on special tokens: the mean over query genes, cells as weights. Shares "
            "add up to one.",
            "Null: there is none, as nothing is compared. Interval: one query gene is left out at "
            "a time.",
            "It fails as a measure of importance: attention to a token need not change what a "
            "model says.",
        ),
    ),
}  # fmt: skip

# Explained where they first stand; the words are those of docs/glossary.md.
TERMS = {
    "matrix": "has the values of all gene pairs for one attention variant, category and layer",
    "null": "is what the same figure is when gene labels are permuted; it is given as mean or as "
    "central 95 %",
    "interval": "holds 95 % and comes from leaving out genes, vertices or donors",
    "q": "is a p-value adjusted by Benjamini–Hochberg over a family of tests",
    "quantile": "is the rank of a pair divided by the number of ranked pairs; 0 is strongest, 0.5 "
    "is chance",
    "top pairs": "are the eligible pairs with the largest values; of an eligible pair enough cells "
    "hold both genes",
}


def term(name: str) -> Markup:
    """Return a term with its meaning, as part of a sentence."""
    return Markup("<dfn>{}</dfn> {}").format(
        name[0].upper() + name[1:] if name == "top pairs" else name, TERMS[name]
    )
