"""The oracle: whether all that was acknowledged comes out, each sample once, whatever is killed on the way.

`python -m bench.oracle` runs the real processes, kills them at random moments, breaks their connections and answers,
and then compares what the de-duplicated view says with a reckoning of its own. Imports nothing of `functions`: the
reckoning (`reckoning.py`) states the semantics a second time, in the plainest way. Start reading at `run.py`.
"""
