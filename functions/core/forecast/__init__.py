"""Forecasts: when something runs out, what a pool needs in the next 24 h, how many nodes that is. Pure.

Start with `exhaustion.py` (one series at a time, streaming), then `day_ahead.py` (one pool at a time, from its
history) and `capacity.py`. docs/forecasts.md explains the methods and gives their figures.
"""
