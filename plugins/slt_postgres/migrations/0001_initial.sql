-- One table per record type of slt.types.records; the columns are the fields, in their order.
--
-- Times are bigint, milliseconds UTC, as everywhere in slt: no conversion, no time zone, exact to the millisecond. For
-- people: to_timestamp(exit_time / 1000.0).
-- Money and quantities are double precision, the type they have in the engine, so that they come back bit for bit
-- (numeric would round or grow). They may be NaN where the engine's value is.
-- Ids begin with the run's id (demo-001-000123) and are compared by code point (COLLATE "C"), as Python does.
-- In jsonb, {"$float": "nan"} and the like stand for floats that JSON or numeric cannot hold exactly.

CREATE TABLE runs (
    id      text COLLATE "C" PRIMARY KEY,
    mode    text NOT NULL,
    started bigint NOT NULL,
    config  text NOT NULL,
    status  text NOT NULL,
    summary jsonb NOT NULL
);
CREATE INDEX runs_by_started ON runs (started, id);

CREATE TABLE trades (
    id            text COLLATE "C" PRIMARY KEY,
    run_id        text COLLATE "C" NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    side          bigint NOT NULL,
    strategy      text NOT NULL,
    reason        text NOT NULL,
    entry_time    bigint NOT NULL,
    exit_time     bigint NOT NULL,
    entry_price   double precision NOT NULL,
    exit_price    double precision NOT NULL,
    quantity      double precision NOT NULL,
    leverage      bigint NOT NULL,
    initial_stop  double precision NOT NULL,
    target        double precision NOT NULL,
    gross_pnl     double precision NOT NULL,
    fees          double precision NOT NULL,
    funding       double precision NOT NULL,
    slippage      double precision NOT NULL,
    net_pnl       double precision NOT NULL,
    r_multiple    double precision NOT NULL,
    exit          text NOT NULL,
    partial_exits text[] NOT NULL,
    confidence    double precision NOT NULL,
    p_win         double precision,
    model_version bigint NOT NULL,
    won           boolean NOT NULL
);
-- Win rate and profit factor from the index alone; the best winners, the worst losers.
CREATE INDEX trades_by_won ON trades (won, net_pnl);
-- What was entered in a span of time.
CREATE INDEX trades_by_entry_time ON trades (entry_time);
-- The newest trades of all runs.
CREATE INDEX trades_by_exit_time ON trades (exit_time, id);
-- The trades of one symbol in order.
CREATE INDEX trades_by_symbol ON trades (symbol, exit_time, id);
-- The best and the worst of all.
CREATE INDEX trades_by_net_pnl ON trades (net_pnl);
-- One run in order, and its statistics from the index alone.
CREATE INDEX trades_stats ON trades (run_id, exit_time, id)
    INCLUDE (symbol, won, net_pnl, r_multiple, fees, funding);

CREATE TABLE open_positions (
    id         text COLLATE "C" PRIMARY KEY,
    run_id     text COLLATE "C" NOT NULL,
    symbol     text COLLATE "C" NOT NULL,
    side       bigint NOT NULL,
    entry_time bigint NOT NULL,
    quantity   double precision NOT NULL,
    is_open    boolean NOT NULL,
    state      jsonb NOT NULL
);
CREATE INDEX open_positions_by_run ON open_positions (run_id, entry_time, id);

CREATE TABLE order_intents (
    id              text COLLATE "C" PRIMARY KEY,
    run_id          text COLLATE "C" NOT NULL,
    position_id     text COLLATE "C" NOT NULL,
    symbol          text COLLATE "C" NOT NULL,
    side            bigint NOT NULL,
    type            text NOT NULL,
    role            text NOT NULL,
    quantity        double precision NOT NULL,
    price           double precision,
    stop_price      double precision,
    reduce_only     boolean NOT NULL,
    time            bigint NOT NULL,
    reason          text NOT NULL,
    status          text NOT NULL,
    filled_quantity double precision NOT NULL,
    note            text NOT NULL
);
CREATE INDEX order_intents_by_run ON order_intents (run_id, time, id);
CREATE INDEX order_intents_by_symbol ON order_intents (symbol, time, id);

CREATE TABLE decisions (
    id            text COLLATE "C" PRIMARY KEY,
    run_id        text COLLATE "C" NOT NULL,
    time          bigint NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    strategy      text NOT NULL,
    side          bigint NOT NULL,
    reason        text NOT NULL,
    outcome       text NOT NULL,
    detail        text NOT NULL,
    confidence    double precision NOT NULL,
    p_win         double precision,
    model_version bigint NOT NULL,
    numbers       jsonb NOT NULL
);
CREATE INDEX decisions_by_run ON decisions (run_id, time, id);
CREATE INDEX decisions_by_symbol ON decisions (symbol, time, id);

CREATE TABLE samples (
    id            text COLLATE "C" PRIMARY KEY,
    run_id        text COLLATE "C" NOT NULL,
    strategy      text NOT NULL,
    schema_hash   text NOT NULL,
    source        text NOT NULL,
    time          bigint NOT NULL,
    symbol        text COLLATE "C" NOT NULL,
    side          bigint NOT NULL,
    features      bytea NOT NULL,
    entry_price   double precision NOT NULL,
    stop          double precision NOT NULL,
    target        double precision NOT NULL,
    cost_rate     double precision NOT NULL,
    model_version bigint NOT NULL,
    confidence    double precision NOT NULL,
    p_win         double precision,
    refused_by    text NOT NULL,
    barrier       text NOT NULL,
    barrier_r     double precision,
    resolved_time bigint,
    traded_r      double precision
);
CREATE INDEX samples_by_run ON samples (run_id, time, id);

CREATE TABLE model_versions (
    id             text COLLATE "C" PRIMARY KEY,
    run_id         text COLLATE "C" NOT NULL,
    strategy       text NOT NULL,
    version        bigint NOT NULL,
    schema_hash    text NOT NULL,
    fitted_time    bigint NOT NULL,
    effective_time bigint NOT NULL,
    samples        bigint NOT NULL,
    promoted       boolean NOT NULL,
    verdict        text NOT NULL,
    metrics        jsonb NOT NULL,
    artefact       bytea NOT NULL
);
CREATE INDEX model_versions_by_run ON model_versions (run_id, fitted_time, id);

CREATE TABLE equity_points (
    id             text COLLATE "C" PRIMARY KEY,
    run_id         text COLLATE "C" NOT NULL,
    time           bigint NOT NULL,
    equity         double precision NOT NULL,
    wallet         double precision NOT NULL,
    margin_in_use  double precision NOT NULL,
    open_positions bigint NOT NULL
);
CREATE INDEX equity_points_by_run ON equity_points (run_id, time, id);

CREATE TABLE stored_bars (
    id               text COLLATE "C" PRIMARY KEY,
    symbol           text COLLATE "C" NOT NULL,
    interval_ms      bigint NOT NULL,
    close_time       bigint NOT NULL,
    open             double precision NOT NULL,
    high             double precision NOT NULL,
    low              double precision NOT NULL,
    close            double precision NOT NULL,
    volume           double precision NOT NULL,
    taker_buy_volume double precision
);
CREATE INDEX stored_bars_by_symbol ON stored_bars (symbol, close_time, id);

CREATE TABLE notices (
    id     text COLLATE "C" PRIMARY KEY,
    run_id text COLLATE "C" NOT NULL,
    time   bigint NOT NULL,
    kind   text NOT NULL,
    title  text NOT NULL,
    fields jsonb NOT NULL,
    tone   text NOT NULL
);
CREATE INDEX notices_by_run ON notices (run_id, time, id);
