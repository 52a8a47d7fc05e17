"""Measurements of Portico beside nginx."""
