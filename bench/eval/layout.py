"""Names of array types that the modules of this room share."""

from __future__ import annotations

from typing import Any

import numpy as np

Flags = np.ndarray[Any, np.dtype[np.bool_]]
