"""One blueprint per function: settings and wiring, no logic. Imported by function_app.py only."""
