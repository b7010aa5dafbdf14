"""Import of what Napistu writes: bundles, stores and Hub data sets. Nothing in them is executed."""
