"""Tools of others, each behind one class that builds its command line; one function runs them all."""
