"""Application settings, read from the environment as in Azure. For the host only."""

import re
from collections.abc import Mapping

from local.functions_host.errors import SettingError

_PLACEHOLDER = re.compile(r"%([^%]+)%")
_TRUE = {"1", "true"}


class AppSettings:
    """The app's settings under the names Azure gives them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def get(self, name: str) -> str | None:
        """The setting's value, or None where it is missing or empty."""
        return self._environment.get(name) or None

    def expand(self, text: str) -> str:
        """The text with every `%NAME%` replaced by that setting; SettingError where one is missing."""

        def value(match: re.Match[str]) -> str:
            found = self.get(match[1])
            if found is None:
                raise SettingError(f"'%{match[1]}%' does not resolve to a value; set {match[1]}")
            return found

        return _PLACEHOLDER.sub(value, text)

    def connection_string(self, connection: str) -> str:
        """The connection string behind a binding's `connection` (or `AzureWebJobsStorage`)."""
        for name in (connection, f"AzureWebJobs{connection}"):
            value = self.get(name)
            if value is not None:
                return value
        prefix = f"{connection}__"
        identity = sorted(name for name in self._environment if name.startswith(prefix))
        if identity:
            raise SettingError(
                f"{', '.join(identity)}: identity-based connections need Azure; "
                f"set {connection} to a connection string to run here"
            )
        raise SettingError(f"connection {connection!r} is not set; set {connection} to a connection string")

    def is_disabled(self, function: str) -> bool:
        """Whether `AzureWebJobs.<function>.Disabled` switches the function off."""
        return (self.get(f"AzureWebJobs.{function}.Disabled") or "").lower() in _TRUE

    def under(self, prefix: str) -> dict[str, str]:
        """Settings whose name starts with the prefix (case-insensitively), keyed by what follows it."""
        cut = len(prefix)
        return {
            name[cut:]: value
            for name, value in self._environment.items()
            if name.lower().startswith(prefix.lower()) and len(name) > cut
        }
