-- How often a container's engine has started it again by itself, as the engine counted when that was taken into `workload.starts`.
ALTER TABLE instance ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
