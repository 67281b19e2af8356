"""The same pipeline in several layouts, compared: do they answer alike, and which is the fastest."""
