"""How fast engines answer, batch by batch, measured side by side."""
