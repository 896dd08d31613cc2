"""Reads one section of host.json, collecting every problem instead of stopping at the first. For host_json only."""

from collections.abc import Iterable, Mapping

from local.functions_host.time_span import parse_time_span


class Section:
    """A JSON object whose keys are compared without case, as .NET's configuration does.

    Every reader returns the default where the key is missing or its value is refused; `close` reports keys that
    nobody asked for. Values may be strings, because environment overrides always are.
    """

    def __init__(self, values: Mapping[str, object], path: str, problems: list[str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}
        self._spelling = {name.lower(): name for name in values}
        self._path = path
        self._problems = problems
        self._read: set[str] = set()

    def problem(self, name: str, message: str) -> None:
        """Record that a value of this section is refused."""
        self._problems.append(f"{self._path}{name} {message}")

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number within the bounds."""
        value = self._take(name)
        if value is None:
            return default
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = value
        if not isinstance(number, int) or isinstance(number, bool) or not minimum <= number <= maximum:
            self.problem(name, f"must be a whole number {minimum}-{maximum}, got {value!r}")
            return default
        return number

    def seconds(self, name: str, default: float, maximum: float | None = None) -> float:
        """A time span in seconds."""
        value = self._take(name)
        if value is None:
            return default
        try:
            span = parse_time_span(value if isinstance(value, str) else repr(value))
        except ValueError as error:
            self.problem(name, f"is malformed: {error}")
            return default
        if maximum is not None and span > maximum:
            self.problem(name, f"must be at most {maximum:g} s, got {value!r}")
            return default
        return span

    def text(self, name: str, default: str) -> str:
        """A string."""
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, str):
            self.problem(name, f"must be a string, got {value!r}")
            return default
        return value

    def choice(self, name: str, default: str, choices: Iterable[str]) -> str:
        """One of the choices, compared without case; returned as spelled in `choices`."""
        spelled = {choice.lower(): choice for choice in choices}
        value = self.text(name, default)
        if value.lower() not in spelled:
            self.problem(name, f"must be one of {', '.join(spelled.values())}, got {value!r}")
            return default
        return spelled[value.lower()]

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings, such as HTTP headers."""
        values = self._object(name)
        for key, value in values.items():
            if not isinstance(value, str):
                self.problem(f"{name}.{key}", f"must be a string, got {value!r}")
        return {key: value for key, value in values.items() if isinstance(value, str)}

    def section(self, name: str) -> "Section":
        """A nested section, empty where it is missing."""
        return Section(self._object(name), f"{self._path}{self._spelling.get(name.lower(), name)}.", self._problems)

    def without_effect(self, *names: str) -> None:
        """Accept keys that the real host knows and that mean nothing on one machine."""
        self._read.update(name.lower() for name in names)

    def close(self) -> None:
        """Report every key that was never read: the real host would ignore a typo silently, this one does not."""
        for name in self._values.keys() - self._read:
            self._problems.append(f"{self._path}{self._spelling[name]} is unknown")

    def _take(self, name: str) -> object:
        self._read.add(name.lower())
        return self._values.get(name.lower())

    def _object(self, name: str) -> Mapping[str, object]:
        value = self._take(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(name, f"must be an object, got {value!r}")
            return {}
        return value
