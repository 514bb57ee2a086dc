"""The feed `synthetic`: a seeded market made by a program, for the demo and for experiments."""
