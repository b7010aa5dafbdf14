"""Embedded demonstration data, checkpoint and configuration."""
