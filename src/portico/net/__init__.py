"""Sockets, readiness and time: everything between the kernel and the sans-IO code."""
