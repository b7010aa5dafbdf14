"""Overlap of pairs with a network, controlled for co-expression, degree and expression level."""
