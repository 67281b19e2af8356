"""Whether one load test is better or worse than another."""
