"""The reduction: sums over cells, top-K, ranks, views. No models, no store, no Ray."""
