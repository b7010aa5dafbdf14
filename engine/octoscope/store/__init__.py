"""Run directories: plan, attempts, records, tiles, tables, manifest. No Ray, no models."""
