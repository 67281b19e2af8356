"""What runs and sweeps leave behind, as versioned JSON."""
