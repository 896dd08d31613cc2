"""Measurements and trials of the whole product. May import everything; nothing may import it."""
