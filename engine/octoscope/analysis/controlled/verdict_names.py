"""The four verdicts. In their own module, because tables are read without scipy and numba."""

BEYOND = "beyond co-expression"
NO_MORE = "no more than co-expression"
NOT_ENRICHED = "not enriched beyond degree and expression"
CANNOT_TELL = "cannot tell"
# by the column of ``tables/verdict_summary`` that counts it, the clearest verdict first
COUNTED_AS = {
    "n_beyond": BEYOND,
    "n_no_more": NO_MORE,
    "n_not_enriched": NOT_ENRICHED,
    "n_cannot_tell": CANNOT_TELL,
}
VERDICTS = tuple(COUNTED_AS.values())
