"""The graph in the precision that is asked for."""
