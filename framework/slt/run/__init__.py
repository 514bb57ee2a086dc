"""The drivers: the only place with a clock, tasks and I/O."""
