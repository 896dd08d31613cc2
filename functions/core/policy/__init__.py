"""From scores to incidents: what matters, when it begins and ends, how bad it is, and why. Pure; used by `watch`.

Start with `rules.py`. Detectors say how unusual a value is; here is decided whether anybody should be told. An
incident needs three things at once: evidence that this was not there before, a change that matters, and persistence.
docs/incidents.md explains it.
"""
