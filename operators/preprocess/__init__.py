"""Volumes made ready for networks: one grid, one scale, aligned."""
