-- What retention (storages.postgres.keep_decisions_days, keep_bars_days) looks for: rows older than a time, whoever they
-- belong to. Rows arrive in about the order of their times, for which a block range index of a few kB is enough.
CREATE INDEX decisions_by_time ON decisions USING brin (time);
CREATE INDEX stored_bars_by_close_time ON stored_bars USING brin (close_time);
