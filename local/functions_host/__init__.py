"""An Azure Functions host for one machine: runs an unchanged function_app.py through Microsoft's worker library.

Start it with `python -m local.functions_host --help`; README.md says what is Microsoft's, what is ours, what differs.
Nothing but tests and the local supervisor may import it; it imports nothing of the other rooms.
"""
