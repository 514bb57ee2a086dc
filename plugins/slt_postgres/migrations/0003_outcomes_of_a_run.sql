-- Half of all trades are won, so an index that begins with that finds nothing sooner than the table does. Within a run,
-- and ordered by what was won or lost, it gives the best winners and the worst losers without looking at the rest.
DROP INDEX IF EXISTS trades_by_won;
CREATE INDEX trades_by_won ON trades (run_id, won, net_pnl, id);
