"""The wire language: what agents say and functions understand.

Anybody may import this package; it imports nothing of ours. `envelope`, `catalogue` and `errors` need the
standard library only, because the agent imports them on every node. `rules`, `validation` (pydantic, numpy) and
`tables` are for the function app and for tools.
"""
