"""What photos.py compares: a bound without a server, our layouts, the tutorials' style, a web framework."""
