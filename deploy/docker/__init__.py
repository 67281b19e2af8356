"""Images of a server with its repository in them: production on NVIDIA's Triton, embedded on plain Debian."""
