"""Engines that were built elsewhere, brought through the same gate."""
