-- Beside the instance that serves there may be another one: a successor that has yet to prove itself, or a predecessor
-- that is being ended. `slot` tells the two apart, 0 or 1; `workload.slot` is that of the one that serves. `beside` (a
-- body) is what the other one is made from and how its attempts have gone, without the instance; NULL: there is none.
ALTER TABLE workload ADD COLUMN slot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workload ADD COLUMN beside BLOB;
ALTER TABLE instance ADD COLUMN slot INTEGER NOT NULL DEFAULT 0;
DROP INDEX one_live_instance;
CREATE UNIQUE INDEX one_live_instance_in_a_slot ON instance (workload, slot) WHERE ended_at IS NULL;
