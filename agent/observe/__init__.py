"""What others may ask the agent over HTTP: /metrics, /healthz, /readyz. Only the command line and tests import it.

`server` speaks HTTP (`messages`) in a thread of its own, `endpoint` says which path is answered by what, `metrics` puts
/metrics together of `node_metrics` and `agent_metrics`, `exposition` writes the two text formats, `health` judges.
All of it reads what the sampling thread and the event loop have published as a whole (`sources`); they never wait for
any of it.
"""
