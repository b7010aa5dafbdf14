"""One reader per source database."""
