"""Ways out of the agent. For the service and `agent.delivery`."""
