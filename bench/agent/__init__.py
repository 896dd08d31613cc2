"""What the agent costs its node, measured beside Debian's node_exporter: `make bench-agent`.

The agent is a process of its own, as it ships, publishing over TLS to the local broker and serving /metrics.
"""
