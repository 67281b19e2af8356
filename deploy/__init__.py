"""Running what was rendered: the embedded server here; images, charts and clusters later."""
