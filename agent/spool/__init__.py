"""Envelopes that wait for their acknowledgement. For the service and `agent.delivery`."""
