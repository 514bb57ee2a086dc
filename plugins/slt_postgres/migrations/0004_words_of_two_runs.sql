-- When a run said what it says of a position: a run that comes back tells again what it knew when it died, and must not
-- undo what another one has said since.
ALTER TABLE open_positions ADD COLUMN IF NOT EXISTS told_time bigint NOT NULL DEFAULT 0;
