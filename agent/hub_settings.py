"""The settings that say where to publish: a connection string, or a namespace and the pod's own identity.

For `agent.settings`. Connection strings are secrets: no message repeats them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_NAMESPACE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+")
_HUB = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_HUB_RULE = "1-256 letters, digits, '.', '_', '-', beginning and ending with a letter or digit"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where to publish; exactly one of `connection_string` and `namespace` is set."""

    name: str
    connection_string: str | None = field(default=None, repr=False)
    namespace: str | None = None
    """Fully qualified: the credential is the pod's workload identity, or whatever else azure-identity finds."""


def read_hub(environ: Mapping[str, str], problems: list[str], *, required: bool) -> HubSettings | None:
    """Reads EVENTHUB_*; adds what is wrong to `problems`. None when nothing usable is set."""
    connection_string = environ.get("EVENTHUB_CONNECTION_STRING", "").strip() or None
    namespace = environ.get("EVENTHUB_FULLY_QUALIFIED_NAMESPACE", "").strip() or None
    name = environ.get("EVENTHUB_NAME", "").strip() or None
    if connection_string and namespace:
        problems.append(
            "EVENTHUB_CONNECTION_STRING and EVENTHUB_FULLY_QUALIFIED_NAMESPACE are both set; "
            "set the first for a key, the second for an identity"
        )
    if not connection_string and not namespace:
        if required:
            problems.append(
                "EVENTHUB_CONNECTION_STRING or EVENTHUB_FULLY_QUALIFIED_NAMESPACE must be set to publish; "
                "--stdout and --once do without"
            )
        return None
    if connection_string:
        name = _check_connection_string(connection_string, name, problems)
    if namespace and not _NAMESPACE.fullmatch(namespace):
        problems.append(
            "EVENTHUB_FULLY_QUALIFIED_NAMESPACE must be a host name like example.servicebus.windows.net, "
            f"got {namespace!r:.160}"
        )
    if name is None:
        problems.append("EVENTHUB_NAME must be set: the name of the event hub")
    elif not _HUB.fullmatch(name):
        problems.append(f"EVENTHUB_NAME must be {_HUB_RULE}, got {name!r:.160}")
    return HubSettings(name or "", connection_string, namespace)


def _check_connection_string(text: str, name: str | None, problems: list[str]) -> str | None:
    """Checks the parts that the SDK would trip over later; gives the name of the hub."""
    parts = {
        key.strip().lower(): value.strip()
        for key, separator, value in (part.partition("=") for part in text.split(";"))
        if separator
    }
    try:
        endpoint = urlsplit(parts.get("endpoint", ""))
    except ValueError:  # brackets that enclose no IPv6 address
        endpoint = urlsplit("")
    has_key = parts.get("sharedaccesskeyname") and parts.get("sharedaccesskey")
    if endpoint.scheme != "sb" or not endpoint.hostname:
        problems.append("EVENTHUB_CONNECTION_STRING must have Endpoint=sb://HOST/ (its value is not shown)")
    if not has_key and not parts.get("sharedaccesssignature"):
        problems.append(
            "EVENTHUB_CONNECTION_STRING must have SharedAccessKeyName and SharedAccessKey, "
            "or SharedAccessSignature (its value is not shown)"
        )
    entity = parts.get("entitypath")
    if entity and name and entity != name:
        problems.append(
            f"EVENTHUB_NAME must agree with EntityPath={entity:.80} of EVENTHUB_CONNECTION_STRING, got {name!r:.80}"
        )
    return name or entity
