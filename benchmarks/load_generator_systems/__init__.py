"""What the benchmark of the load generator is made of: servers that only answer, the systems, and its page."""
