-- The tables of the edge-infrastructure document under their printed names (docs/adr/0013). «definition», «input»,
-- «output», «config» and «metrics» are bodies, all else keys; `sync_log.details` holds no bodies. «IF NOT EXISTS»: somebody
-- may have run the printed script on this file before. The workflow issue fills them; sync_log is written by the sync.
CREATE TABLE IF NOT EXISTS workflows (
  id             TEXT PRIMARY KEY,
  name           TEXT NOT NULL,
  definition     TEXT NOT NULL,
  version        TEXT NOT NULL,
  created_at     TEXT NOT NULL,
  updated_at     TEXT NOT NULL,
  sync_status    TEXT NOT NULL DEFAULT 'pending'
    CHECK (sync_status IN ('pending', 'syncing', 'synced', 'conflict', 'failed', 'local_only', 'tombstone')),
  last_synced_at TEXT
);
CREATE TABLE IF NOT EXISTS workflow_executions (
  id             TEXT PRIMARY KEY,
  workflow_id    TEXT NOT NULL,
  status         TEXT NOT NULL,
  input          TEXT,
  output         TEXT,
  started_at     TEXT NOT NULL,
  completed_at   TEXT,
  sync_status    TEXT NOT NULL DEFAULT 'pending'
    CHECK (sync_status IN ('pending', 'syncing', 'synced', 'conflict', 'failed', 'local_only', 'tombstone')),
  last_synced_at TEXT,
  FOREIGN KEY (workflow_id) REFERENCES workflows (id)
);
CREATE TABLE IF NOT EXISTS agents (
  id             TEXT PRIMARY KEY,
  name           TEXT NOT NULL,
  type           TEXT NOT NULL,
  config         TEXT NOT NULL,
  version        TEXT NOT NULL,
  created_at     TEXT NOT NULL,
  updated_at     TEXT NOT NULL,
  sync_status    TEXT NOT NULL DEFAULT 'pending'
    CHECK (sync_status IN ('pending', 'syncing', 'synced', 'conflict', 'failed', 'local_only', 'tombstone')),
  last_synced_at TEXT
);
CREATE TABLE IF NOT EXISTS agent_executions (
  id                    TEXT PRIMARY KEY,
  agent_id              TEXT NOT NULL,
  workflow_execution_id TEXT NOT NULL,
  status                TEXT NOT NULL,
  input                 TEXT,
  output                TEXT,
  started_at            TEXT NOT NULL,
  completed_at          TEXT,
  metrics               TEXT,
  sync_status           TEXT NOT NULL DEFAULT 'pending'
    CHECK (sync_status IN ('pending', 'syncing', 'synced', 'conflict', 'failed', 'local_only', 'tombstone')),
  last_synced_at        TEXT,
  FOREIGN KEY (agent_id) REFERENCES agents (id),
  FOREIGN KEY (workflow_execution_id) REFERENCES workflow_executions (id)
);
CREATE TABLE IF NOT EXISTS sync_log (
  id          TEXT PRIMARY KEY,
  operation   TEXT NOT NULL,
  entity_type TEXT NOT NULL,
  entity_id   TEXT NOT NULL,
  status      TEXT NOT NULL,
  timestamp   TEXT NOT NULL,
  details     TEXT
);

CREATE INDEX IF NOT EXISTS idx_workflows_sync_status ON workflows (sync_status);
CREATE INDEX IF NOT EXISTS idx_workflow_executions_workflow_id ON workflow_executions (workflow_id);
CREATE INDEX IF NOT EXISTS idx_workflow_executions_sync_status ON workflow_executions (sync_status);
CREATE INDEX IF NOT EXISTS idx_agent_executions_agent_id ON agent_executions (agent_id);
CREATE INDEX IF NOT EXISTS idx_agent_executions_workflow_execution_id ON agent_executions (workflow_execution_id);
CREATE INDEX IF NOT EXISTS idx_agent_executions_sync_status ON agent_executions (sync_status);
CREATE INDEX idx_agents_sync_status ON agents (sync_status);
CREATE INDEX idx_sync_log_timestamp ON sync_log (timestamp);
CREATE UNIQUE INDEX idx_workflows_name_version ON workflows (name, version);
CREATE UNIQUE INDEX idx_agents_name_version ON agents (name, version);

-- The status of a row is what the sync knows of it: its place in the outbox, in a frozen frame, at the hub. An answer
-- of the hub that comes while a newer edit waits changes nothing: the row is still in the outbox.
CREATE TRIGGER workflow_waits AFTER INSERT ON outbox WHEN NEW.entity = 'workflow' BEGIN
  UPDATE workflows SET sync_status = 'pending' WHERE id = NEW.id;
END;
CREATE TRIGGER workflow_leaves AFTER DELETE ON outbox WHEN OLD.entity = 'workflow' BEGIN
  UPDATE workflows SET sync_status = 'syncing' WHERE id = OLD.id;
END;
CREATE TRIGGER workflow_is_known AFTER UPDATE OF rev ON state
WHEN NEW.entity = 'workflow' AND NEW.rev <> OLD.rev
  AND NOT EXISTS (SELECT 1 FROM outbox WHERE entity = NEW.entity AND id = NEW.id) BEGIN
  UPDATE workflows SET sync_status = 'synced', last_synced_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = NEW.id;
END;
CREATE TRIGGER workflow_execution_waits AFTER INSERT ON outbox WHEN NEW.entity = 'workflow_execution' BEGIN
  UPDATE workflow_executions SET sync_status = 'pending' WHERE id = NEW.id;
END;
CREATE TRIGGER workflow_execution_leaves AFTER DELETE ON outbox WHEN OLD.entity = 'workflow_execution' BEGIN
  UPDATE workflow_executions SET sync_status = 'syncing' WHERE id = OLD.id;
END;
CREATE TRIGGER workflow_execution_is_known AFTER UPDATE OF rev ON state
WHEN NEW.entity = 'workflow_execution' AND NEW.rev <> OLD.rev
  AND NOT EXISTS (SELECT 1 FROM outbox WHERE entity = NEW.entity AND id = NEW.id) BEGIN
  UPDATE workflow_executions SET sync_status = 'synced', last_synced_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = NEW.id;
END;
CREATE TRIGGER agent_waits AFTER INSERT ON outbox WHEN NEW.entity = 'agent' BEGIN
  UPDATE agents SET sync_status = 'pending' WHERE id = NEW.id;
END;
CREATE TRIGGER agent_leaves AFTER DELETE ON outbox WHEN OLD.entity = 'agent' BEGIN
  UPDATE agents SET sync_status = 'syncing' WHERE id = OLD.id;
END;
CREATE TRIGGER agent_is_known AFTER UPDATE OF rev ON state
WHEN NEW.entity = 'agent' AND NEW.rev <> OLD.rev
  AND NOT EXISTS (SELECT 1 FROM outbox WHERE entity = NEW.entity AND id = NEW.id) BEGIN
  UPDATE agents SET sync_status = 'synced', last_synced_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = NEW.id;
END;
CREATE TRIGGER agent_execution_waits AFTER INSERT ON outbox WHEN NEW.entity = 'agent_execution' BEGIN
  UPDATE agent_executions SET sync_status = 'pending' WHERE id = NEW.id;
END;
CREATE TRIGGER agent_execution_leaves AFTER DELETE ON outbox WHEN OLD.entity = 'agent_execution' BEGIN
  UPDATE agent_executions SET sync_status = 'syncing' WHERE id = OLD.id;
END;
CREATE TRIGGER agent_execution_is_known AFTER UPDATE OF rev ON state
WHEN NEW.entity = 'agent_execution' AND NEW.rev <> OLD.rev
  AND NOT EXISTS (SELECT 1 FROM outbox WHERE entity = NEW.entity AND id = NEW.id) BEGIN
  UPDATE agent_executions SET sync_status = 'synced', last_synced_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = NEW.id;
END;
