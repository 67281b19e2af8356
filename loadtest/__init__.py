"""Traffic and what is measured of it."""
