"""The fleet model that serves, at hand without waiting: read in the background, and again every few minutes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from functions.core.fleet_model.encoding import ModelUnreadable
from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.registry import Pointer, Registry
from telemetry.errors import StoreUnavailable

REFRESH_S = 300.0
"""From one look at the pointer to the next; unless it has changed, nothing but its ETag is exchanged."""
log = logging.getLogger("fleet_model")


class ServedModel:
    """The model to score with now; None while there is none, it is suspended, or it cannot be read.

    Asking never waits and never fails: when it is time to look again, a thread does. What was known stays in use while
    storage does not answer.
    """

    def __init__(
        self, registry: Registry, *, clock: Callable[[], float] = time.monotonic, background: bool = True
    ) -> None:
        self._registry, self._clock, self._background = registry, clock, background
        self._looking = threading.Lock()
        self._looked: float | None = None
        self._version: str | None = None
        self._loaded: FleetModel | None = None
        self._serving: FleetModel | None = None
        self.state = "unknown"
        """serving, suspended, absent or unreadable; unknown until the first look has succeeded."""

    def __call__(self) -> FleetModel | None:
        """The model, as it was known a few minutes ago at most."""
        if self._looked is None or not 0 <= self._clock() - self._looked < REFRESH_S:
            if self._background:
                threading.Thread(target=self.refresh, name="fleet-model", daemon=True).start()
            else:
                self.refresh()
        return self._serving

    def refresh(self) -> None:
        """Looks now, unless somebody else is looking."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._looked = self._clock()
            self._look()
        except StoreUnavailable as error:
            log.warning("fleet model stays as it was: %s", error)
        except ModelUnreadable as error:
            log.error("windows are not compared with their pools: %s", error)
            self._serving, self.state, self._version = None, "unreadable", None
        finally:
            self._looking.release()

    def _look(self) -> None:
        found = self._registry.pointer() if self._version is None else self._registry.pointer_unless(self._version)
        if found is None:
            return
        pointer, version = found
        if pointer.serves and (self._loaded is None or self._loaded.id != pointer.model):
            self._loaded = self._registry.model(pointer.model)
        self._tell(pointer)
        self._serving = self._loaded if pointer.serves else None
        self._version = version

    def _tell(self, pointer: Pointer) -> None:
        before = (self.state, self._serving.id if self._serving is not None else "")
        self.state = "serving" if pointer.serves else "suspended" if pointer.model else "absent"
        if pointer.serves and before != (self.state, pointer.model):
            log.info("windows are compared with their pools by the fleet model %s", pointer.model)
        elif self.state == "suspended" and before[0] != self.state:
            log.warning("the streaming detectors decide alone: %s", pointer.suspended)
