"""The cache's storage: an index in shared memory, one file for each response, and what a worker has in memory. Knows no HTTP."""
