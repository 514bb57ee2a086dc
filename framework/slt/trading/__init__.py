"""Decisions: engine, portfolio, selector, risk, exits, ledger, learner. No I/O, no clock, no tasks."""
