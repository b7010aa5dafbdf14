"""The molecular network: reading, building, look-ups, label permutations."""
