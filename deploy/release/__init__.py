"""A release on a cluster: what it is made of, what it would change, and how it goes there and back."""
