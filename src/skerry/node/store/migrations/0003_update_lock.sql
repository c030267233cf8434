-- A workload says «not now» to updates of this instance. NULL: it does not. `lock_since` and `lock_until` are monotonic
-- ns of `boot_id`, `lock_until_at` is wall time.
ALTER TABLE instance ADD COLUMN lock_since INTEGER;
ALTER TABLE instance ADD COLUMN lock_until INTEGER;
ALTER TABLE instance ADD COLUMN lock_until_at INTEGER;
ALTER TABLE instance ADD COLUMN lock_reason TEXT;
