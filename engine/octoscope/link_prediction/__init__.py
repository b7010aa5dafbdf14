"""Link prediction on a network: splits, negatives, floors, metrics. Models stand beside floors."""
