"""The text formats of /metrics: OpenMetrics 1.0.0, and Prometheus' own 0.0.4. For what renders metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache

from telemetry.prometheus import Family, Type


class Format(Enum):
    """A format, by its content type."""

    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    TEXT = "text/plain; version=0.0.4; charset=utf-8"


@lru_cache(maxsize=8)
def negotiate(accept: str | None) -> Format:
    """Chooses by the Accept header: OpenMetrics where it is asked for by name and no less wanted than text."""
    wanted = {Format.OPENMETRICS: 0.0, Format.TEXT: 0.0}
    for media_range in (accept or "").lower().split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        given = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        quality = _quality(given.get("q", "1"))
        if media_type == "application/openmetrics-text" and given.get("version", "1.0.0").strip('"') == "1.0.0":
            wanted[Format.OPENMETRICS] = max(wanted[Format.OPENMETRICS], quality)
        elif media_type in ("text/plain", "text/*", "*/*"):
            wanted[Format.TEXT] = max(wanted[Format.TEXT], quality)
    return Format.OPENMETRICS if wanted[Format.OPENMETRICS] >= max(wanted[Format.TEXT], 0.001) else Format.TEXT


def head(family: Family, format_: Format) -> str:
    """Gives the lines before a family's series."""
    if format_ is Format.OPENMETRICS:
        text = _escaped(family.help)
        lines = [f"# TYPE {family.name} {family.type}", f"# HELP {family.name} {text}"]
        if family.unit:
            lines.insert(1, f"# UNIT {family.name} {family.unit}")
    else:
        type_ = Type.GAUGE if family.type is Type.INFO else family.type
        text = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines = [f"# HELP {family.series} {text}", f"# TYPE {family.series} {type_}"]
    return "\n".join(lines) + "\n"


def tail(format_: Format) -> str:
    """Gives what stands after the last family."""
    return "# EOF\n" if format_ is Format.OPENMETRICS else ""


def series(name: str, labels: Mapping[str, str]) -> str:
    """Gives a line up to its value. A label without a value is left out: that means the same."""
    inside = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items() if value)
    return f"{name}{{{inside}}} " if inside else f"{name} "


def number(value: float) -> str:
    """Gives a number as both formats read it, without loss."""
    if isinstance(value, int):
        return str(int(value))
    value = float(value)  # a plug-in may deliver other kinds of number
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(text: str) -> str:
    """Escapes a label's value, or a help text. What UTF-8 cannot say (bytes of a path that are none) is spelt out."""
    return (
        text.encode("utf-8", "backslashreplace").decode().replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    )


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
