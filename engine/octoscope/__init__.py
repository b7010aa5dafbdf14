"""Octoscope: attention of single-cell foundation models, read at atlas scale."""

__version__ = "0.1.0"
