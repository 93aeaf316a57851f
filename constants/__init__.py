"""Frozen defaults, each with its unit and where it comes from."""
