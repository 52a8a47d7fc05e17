"""The cache's storage: an index in shared memory, one file for each answer, and what a worker keeps at hand. Knows no HTTP."""
