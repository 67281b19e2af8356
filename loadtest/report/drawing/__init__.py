"""Drawing in SVG: elements, scales, and a frame with axes. Colours are CSS custom properties of the page."""
