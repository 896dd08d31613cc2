"""Settings of every test: hypothesis does not judge speed, since test machines are shared; matrices take one thread."""

import atexit
import gc
import os

from hypothesis import settings

# Before anything imports numpy: workers share the processors already, and waiting threads spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

gc.disable()


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: garbage collections need not go through it time and again."""
    gc.enable()
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # so that extensions find nothing leaked
