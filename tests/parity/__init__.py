"""The same configuration and the same bytes to nginx and to Portico; what comes back must be the same."""
