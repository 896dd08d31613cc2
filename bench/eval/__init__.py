"""How good the shipped detectors are: `make eval`, on labelled files and on simulated nodes with known faults.

Nothing here is used by the product; it may import all of it. Start with `run.py`. docs/detection.md tells what is
measured and how; results and pictures go to .local/eval.
"""
