"""Composes atlas, models, attention and store into units of work and runs them on Ray."""
