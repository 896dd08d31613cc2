"""Settings of every test: hypothesis does not judge speed, since test machines are shared."""

import atexit
import gc

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: garbage collections need not go through it time and again."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # so that extensions find nothing leaked
