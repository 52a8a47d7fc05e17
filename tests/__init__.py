"""Portico's tests: `unit` mirrors the package, `system` runs real processes, `parity` compares with nginx."""
