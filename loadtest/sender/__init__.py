"""The process that sends, and nothing else."""
