"""Streaming detectors: how unusual is a value, given the past of its own series. Pure; used by `close`.

Start with `streaming.py`. A detector holds nothing itself: all it knows of a series is a fixed number of bytes
(`series_state.py`), so any instance of the function app can score any node. docs/detection.md explains the method.
"""
