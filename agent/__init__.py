"""The collector pod's program: reads one node, sends envelopes to Event Hubs. Run it with `python -m agent`.

Imports the standard library, psutil and `telemetry`; the Azure SDKs only when it publishes. Nothing of ours
imports it but tests: others start it as a process. Start reading at `command_line` and `service`.
"""

__version__ = "0.1.0"
