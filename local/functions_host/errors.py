"""What the host refuses, as one small exception tree. For every module of the host.

HostError
├── HostJsonError   host.json holds values the real host would not take (or the local one cannot honour)
├── SettingError    an application setting is missing or malformed
├── BindingError    a function uses a trigger or binding the local host does not have
└── AppLoadError    function_app.py could not be imported or indexed
"""

from collections.abc import Sequence


class HostError(Exception):
    """The host cannot start; the message says what was wrong and what to do."""


class HostJsonError(HostError):
    """Every problem found in host.json, one per line, so that one run shows them all."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("host.json is refused:\n" + "\n".join(f"- {problem}" for problem in self.problems))


class SettingError(HostError):
    """An application setting that a binding or the host needs is missing or malformed."""


class BindingError(HostError):
    """A function's binding cannot be honoured here."""


class AppLoadError(HostError):
    """Microsoft's worker library refused the app; the message carries its exception and stack trace."""
