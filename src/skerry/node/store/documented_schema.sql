-- Edge database schema
-- Workflows
CREATE TABLE workflows (
id TEXT PRIMARY KEY,
name TEXT NOT NULL,
definition TEXT NOT NULL,
version TEXT NOT NULL,
created_at TEXT NOT NULL,
updated_at TEXT NOT NULL,
sync_status TEXT NOT NULL DEFAULT 'pending',
last_synced_at TEXT
);
-- Workflow executions
CREATE TABLE workflow_executions (
id TEXT PRIMARY KEY,
workflow_id TEXT NOT NULL,
status TEXT NOT NULL,
input TEXT,
output TEXT,
started_at TEXT NOT NULL,
completed_at TEXT,
sync_status TEXT NOT NULL DEFAULT 'pending',
last_synced_at TEXT,
FOREIGN KEY (workflow_id) REFERENCES workflows(id)
);
-- Agents
CREATE TABLE agents (
id TEXT PRIMARY KEY,
name TEXT NOT NULL,
type TEXT NOT NULL,
config TEXT NOT NULL,
version TEXT NOT NULL,
created_at TEXT NOT NULL,
updated_at TEXT NOT NULL,
sync_status TEXT NOT NULL DEFAULT 'pending',
last_synced_at TEXT
);
-- Agent executions
CREATE TABLE agent_executions (
id TEXT PRIMARY KEY,
agent_id TEXT NOT NULL,
workflow_execution_id TEXT NOT NULL,
status TEXT NOT NULL,
input TEXT,
output TEXT,
started_at TEXT NOT NULL,
completed_at TEXT,
metrics TEXT,
sync_status TEXT NOT NULL DEFAULT 'pending',
last_synced_at TEXT,
FOREIGN KEY (agent_id) REFERENCES agents(id),
FOREIGN KEY (workflow_execution_id) REFERENCES workflow_executions(id)
);
-- Sync log
CREATE TABLE sync_log (
id TEXT PRIMARY KEY,
operation TEXT NOT NULL,
entity_type TEXT NOT NULL,
entity_id TEXT NOT NULL,
status TEXT NOT NULL,
timestamp TEXT NOT NULL,
details TEXT
);
-- Create indexes
CREATE INDEX idx_workflows_sync_status ON workflows(sync_status);
CREATE INDEX idx_workflow_executions_workflow_id ON workflow_executions(workflow_id);
CREATE INDEX idx_workflow_executions_sync_status ON workflow_executions(sync_status);
CREATE INDEX idx_agent_executions_agent_id ON agent_executions(agent_id);
CREATE INDEX idx_agent_executions_workflow_execution_id ON agent_executions(workflow_execution_id);
CREATE INDEX idx_agent_executions_sync_status ON agent_executions(sync_status);
