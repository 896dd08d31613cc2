"""The fleet model: how unlike the other nodes of its pool a node is, learnt daily from history. Pure; numpy only.

    history.py     rows read back with KQL -> arrays
    features.py    readings on a scale on which differences mean the same everywhere
    model.py       what is learnt: scores windows, all of a batch at once
    training.py    history -> model, or a clear reason why not
    validation.py  how good a model is on days it has not seen
    encoding.py    bytes and back, never pickled, damaged or foreign ones refused
    registry.py    promoted models and the pointer to the one that serves, over `VersionedBlobs`
    outliers.py    windows of nodes -> scores, and an incident when it lasts
    drift.py       whether what comes is still what was learnt
    upkeep.py      the two timers' work: train, and check, retrain, fall back

Start with `model.py`. docs/fleet-model.md explains the method and compares it with others. May import the rest of
`functions.core`; used by `close`, `ingest`, bindings and benchmarks.
"""
