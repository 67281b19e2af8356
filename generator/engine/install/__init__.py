"""Built engines, where they are kept, and whether they are still what a spec asks for."""
