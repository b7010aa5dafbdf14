"""Pure functions on blocks and tables: finalise, layers, overlap, statistics."""
