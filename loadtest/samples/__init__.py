"""One record a request, kept for good."""
