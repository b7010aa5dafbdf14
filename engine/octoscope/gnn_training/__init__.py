"""Trains graph neural networks on the links of a network, restartably."""
