"""Many load tests, of settings that compete."""
