"""Whether an engine still answers rightly: on the gate set, at every shape, for every neighbour."""
