"""Thin scripts for `ray job submit`: parse, call the engine, exit with its code."""
