"""The status page: server-rendered, no external assets."""
