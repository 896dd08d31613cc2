"""Measures forecasts on simulated fleets, on series made to mislead, and on labelled real ones: bench.forecast.run."""
