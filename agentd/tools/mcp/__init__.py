"""The client of MCP servers: what they offer becomes tools and prompts of a job. Loaded only where a job has any."""
