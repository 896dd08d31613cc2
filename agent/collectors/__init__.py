"""One file per subsystem of a node, each a `Collector` of the module's name, made by its `make`. Nothing else is here.

A collector reads and reports; it never measures itself, retries, logs or computes rates: `agent.sampler` times it
and survives its failures, `agent.rates` turns its counters into rates.
"""
