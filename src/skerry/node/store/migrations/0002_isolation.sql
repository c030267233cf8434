-- Why an instance ended, where its runtime knows («out of memory»), and the isolation that an instance really has.
ALTER TABLE workload ADD COLUMN exit_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE instance ADD COLUMN exit_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE instance ADD COLUMN isolation TEXT NOT NULL DEFAULT '';
