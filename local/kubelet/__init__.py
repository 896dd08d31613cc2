"""A stand-in for a node's kubelet: GET /stats/summary over https, with bearer tokens and the right nodes/stats.

Run it with `python -m local.kubelet`; start reading at `service.py`. Nothing imports it but its own program and tests.
"""
