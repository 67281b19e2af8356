"""Runs and sweeps as pages, charts and tables."""
