"""Graph neural networks on a molecular network: checkpoints, encoding, scores of pairs."""
