"""ASP.NET route templates: `items/{id:int}/{*rest}`. For HTTP routing only."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

_PARAMETER = re.compile(
    r"\{(?P<star>\*{0,2})(?P<name>[A-Za-z_]\w*)(?P<constraints>(?::[^}=?:(]+(?:\([^)]*\))?)*)"
    r"(?P<optional>\?|=[^}]*)?\}"
)
_CONSTRAINT = re.compile(r":([^:(]+)(?:\(([^)]*)\))?")
_PATTERNS = {
    "int": r"[+-]?\d+",
    "long": r"[+-]?\d+",
    "bool": r"(?i:true|false)",
    "alpha": r"[A-Za-z]*",
    "guid": r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}",
    "decimal": r"[+-]?\d+(?:\.\d+)?",
    "double": r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "float": r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "datetime": r"\d{4}-\d{2}-\d{2}(?:[T ][\d:.]+(?:Z|[+-]\d{2}:\d{2})?)?",
    "required": r".+",
}
# Constraints with numbers as arguments; {0} and {1} are the first and the last.
_SIZED = {"length": ".{{{0},{1}}}", "minlength": ".{{{0},}}", "maxlength": ".{{0,{0}}}"}
# How specific a segment is: the real router prefers literals over constrained over plain parameters over catch-alls.
_LITERAL, _CONSTRAINED, _PLAIN, _CATCH_ALL = range(4)


@dataclass(frozen=True)
class _Segment:
    pattern: re.Pattern[str]
    specificity: int
    name: str = ""
    default: str | None = None
    may_be_missing: bool = False


class RouteTemplate:
    """Matches request paths and extracts their parameters; ValueError for a template it does not understand."""

    def __init__(self, template: str) -> None:
        self.template = template.strip("/")
        self._segments = [_segment(part, template) for part in self.template.split("/") if part]
        for segment in self._segments[:-1]:
            if segment.specificity == _CATCH_ALL:
                raise ValueError(f"a catch-all parameter must come last in route {template!r}")

    @property
    def precedence(self) -> tuple[int, ...]:
        """Sorts templates: of several that match a path, the one with the smallest value is chosen."""
        return tuple(segment.specificity for segment in self._segments)

    def match(self, raw_path: str) -> dict[str, str] | None:
        """The parameters of a percent-encoded path, None where it does not match."""
        parts = [unquote(part) for part in raw_path.strip("/").split("/") if part]
        parameters: dict[str, str] = {}
        for index, segment in enumerate(self._segments):
            if segment.specificity == _CATCH_ALL:
                parameters[segment.name] = "/".join(parts[index:]) or segment.default or ""
                return {name: value for name, value in parameters.items() if value}
            if index >= len(parts):
                if not segment.may_be_missing:
                    return None
                if segment.default is not None:
                    parameters[segment.name] = segment.default
                continue
            found = segment.pattern.fullmatch(parts[index])
            if found is None:
                return None
            parameters |= found.groupdict()
        return parameters if len(parts) <= len(self._segments) else None


def _segment(text: str, template: str) -> _Segment:
    parameters = list(_PARAMETER.finditer(text))
    leftover = _PARAMETER.sub("", text)
    if "{" in leftover or "}" in leftover:
        raise ValueError(f"segment {text!r} of route {template!r} is no ASP.NET route template")
    pattern, position = "", 0
    for parameter in parameters:
        constraints = "".join(f"(?={_constraint(*match, template)}$)" for match in _constraints(parameter))
        whole = parameter.span() == (0, len(text))
        pattern += re.escape(text[position : parameter.start()])
        pattern += f"{constraints if whole else ''}(?P<{parameter['name']}>.+{'' if whole else '?'})"
        position = parameter.end()
    pattern += re.escape(text[position:])
    compiled = re.compile(pattern, re.IGNORECASE)
    if len(parameters) != 1 or parameters[0].span() != (0, len(text)):
        return _Segment(compiled, _CONSTRAINED if parameters else _LITERAL)
    (parameter,) = parameters
    optional = parameter["optional"] or ""
    specificity = _CONSTRAINED if parameter["constraints"] else _PLAIN
    if parameter["star"]:
        specificity = _CATCH_ALL
    default = optional[1:] if optional.startswith("=") else None
    return _Segment(compiled, specificity, parameter["name"], default, may_be_missing=bool(optional))


def _constraints(parameter: re.Match[str]) -> list[tuple[str, str]]:
    return [(match[1], match[2] or "") for match in _CONSTRAINT.finditer(parameter["constraints"])]


def _constraint(name: str, arguments: str, template: str) -> str:
    if name == "regex":
        return f"(?:{arguments})"
    if name in _PATTERNS:
        return f"(?:{_PATTERNS[name]})"
    numbers = [part.strip() for part in arguments.split(",")]
    if name in _SIZED and all(number.isdigit() for number in numbers):
        return _SIZED[name].format(numbers[0], numbers[-1])
    known = ", ".join([*_PATTERNS, *_SIZED, "regex"])
    raise ValueError(f"constraint {name!r} in route {template!r} is not supported here; use one of {known}")
