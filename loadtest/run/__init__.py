"""One load test from its spec to its verdict."""
