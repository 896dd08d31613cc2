"""Duck-typed stand-ins for the FunctionRpc protobuf messages that azure-functions-runtime reads and builds.

The library takes the message classes as a value (`properties["protos"]`), so plain Python objects do, and neither
gRPC nor protobuf is needed. For the worker embedding and the modules that build invocation inputs.
"""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any


class Message(SimpleNamespace):
    """A message built from keywords; a field that was never set reads as None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class TypedData:
    """A oneof: at most one field, named by its kind (`json`, `bytes`, `string`, `http`, `collection_bytes`, ...)."""

    __slots__ = ("_kind", "_value")

    def __init__(self, **field: Any) -> None:
        self._kind: str | None = None
        self._value: Any = None
        for self._kind, self._value in field.items():
            break

    def WhichOneof(self, group: str) -> str | None:
        """The name of the field that is set; None for an empty message."""
        return self._kind

    def __getattr__(self, name: str) -> Any:
        if name == self._kind:
            return self._value
        raise AttributeError(name)


class ParameterBinding:
    """The value of one function parameter."""

    __slots__ = ("data", "name")

    def __init__(self, name: str, data: TypedData | None = None) -> None:
        self.name = name
        self.data = data

    def WhichOneof(self, group: str) -> str:
        """Shared memory, the other possibility, is never used here."""
        return "data"


class StatusResult(Message):
    """Outcome of a request."""

    Failure, Success, Cancelled = 0, 1, 2


class BindingInfo(Message):
    """One binding of a function; directions and data types are class attributes, as in protobuf."""

    in_, out, inout = 0, 1, 2
    undefined, string, binary, stream = 0, 1, 2, 3


class RpcHttpCookie(Message):
    """A cookie of an HTTP response."""

    SameSite = SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})


class Timestamp:
    """A point in time, in whole seconds since 1970."""

    def __init__(self, seconds: int = 0) -> None:
        self.seconds = seconds

    def ToDatetime(self) -> datetime:
        """The same time, in UTC."""
        return datetime.fromtimestamp(self.seconds, UTC)


_PLAIN = (
    "WorkerInitResponse", "WorkerMetadata", "FunctionMetadataResponse", "FunctionLoadResponse", "InvocationResponse",
    "FunctionEnvironmentReloadResponse", "RpcFunctionMetadata", "RpcRetryOptions", "RpcException", "RpcHttp",
    "NullableString", "NullableBool", "NullableDouble", "NullableTimestamp",
)  # fmt: skip

PROTOS = SimpleNamespace(
    TypedData=TypedData,
    ParameterBinding=ParameterBinding,
    StatusResult=StatusResult,
    BindingInfo=BindingInfo,
    RpcHttpCookie=RpcHttpCookie,
    Timestamp=Timestamp,
    **{name: type(name, (Message,), {}) for name in _PLAIN},
)
