"""The operators of each runner, and what waits without a worker slot."""
