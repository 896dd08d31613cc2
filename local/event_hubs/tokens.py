"""Shared access signatures: who may use which event hub.

Only this package may import it. A token names a resource (an event hub, or the whole namespace) and an expiry,
signed with HMAC-SHA256 under the key.
"""

import base64
import hashlib
import hmac
from urllib.parse import unquote_plus

from local.event_hubs.errors import UNAUTHORIZED, AmqpError

_SCHEME = "SharedAccessSignature "


class Grants:
    """What one connection may use. Without a key, everything."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._expiry_by_hub: dict[str, int] = {}

    def put(self, token: object, audience: str, now: float) -> None:
        """Take a token for an audience (the address of an event hub). Raises AmqpError if it is not good."""
        if self._key is None:
            return
        if not isinstance(token, str) or not token.startswith(_SCHEME):
            raise AmqpError(UNAUTHORIZED, "Unauthorized: a SharedAccessSignature token is needed, as a key is set.")
        fields = dict(part.partition("=")[::2] for part in token.removeprefix(_SCHEME).split("&"))
        resource, expiry = fields.get("sr", ""), fields.get("se", "")
        digest = hmac.new(self._key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
        signature = unquote_plus(fields.get("sig", ""))
        if not hmac.compare_digest(base64.b64encode(digest), signature.encode()):
            raise AmqpError(UNAUTHORIZED, "InvalidSignature: The token has an invalid signature.")
        if not expiry.isascii() or not expiry.isdigit() or len(expiry) > 12 or int(expiry) <= now:
            raise AmqpError(UNAUTHORIZED, f"ExpiredToken: The token is expired. Expiry: '{expiry:.50}'.")
        granted, asked = hub_of(unquote_plus(resource)), hub_of(audience)
        if granted not in ("", asked):
            raise AmqpError(
                UNAUTHORIZED, f"InvalidAudience: The token is for '{granted:.100}', not for '{asked:.100}'."
            )
        self._expiry_by_hub[asked] = int(expiry)

    def check(self, hub_name: str, now: float) -> None:
        """Raise AmqpError unless a good token for this event hub has been put."""
        if self._key is not None and self._expiry_by_hub.get(hub_name.lower(), 0) <= now:
            raise AmqpError(
                UNAUTHORIZED,
                f"Unauthorized access. 'Send' or 'Listen' claim(s) are required for '{hub_name:.100}': put a token.",
            )


def hub_of(address: str) -> str:
    """Return the event hub's name (lower case) in an address, with or without scheme and host; '' if none."""
    return path_of(address).partition("/")[0].lower()


def path_of(address: str) -> str:
    """Return the path of an address, without scheme, host and outer slashes."""
    _, scheme_mark, rest = address.partition("://")
    return (rest.partition("/")[2] if scheme_mark else address).strip("/")
