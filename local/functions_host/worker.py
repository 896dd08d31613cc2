"""Microsoft's Python worker library, embedded: indexes function_app.py and runs its functions. For the host only.

The library keeps its registry in module globals, so one process holds one app. It gets an event loop and a thread of
its own, as the real worker is a process of its own: an app that blocks its loop stops neither the pumps nor HTTP.
"""

import asyncio
import json
import logging
import os
import sys
import threading
import uuid
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime

from local.functions_host.errors import AppLoadError
from local.functions_host.messages import PROTOS, ParameterBinding, StatusResult, TypedData
from local.functions_host.retry import ExponentialBackoff, FixedDelay, RetryPolicy

_THREAD_COUNT = "PYTHON_THREADPOOL_THREAD_COUNT"
_HOST_THREAD_COUNT = "1000"  # what the real host sets where the app does not
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FunctionMetadata:
    """One indexed function as the worker describes it: its bindings are function.json dictionaries."""

    name: str
    function_id: str
    bindings: tuple[Mapping[str, Any], ...]
    retry: RetryPolicy | None


@dataclass(frozen=True)
class Inputs:
    """What one invocation gets: a value per parameter, and the trigger's metadata."""

    parameters: Mapping[str, TypedData]
    metadata: Mapping[str, TypedData] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An exception that left a function: its type and text, and its stack trace."""

    message: str
    stack_trace: str


@dataclass(frozen=True)
class Attempt:
    """Which run of the same input this is; `failure` is what the previous one ended with."""

    retry_count: int = 0
    max_retry_count: int = 0
    failure: Failure | None = None


@dataclass(frozen=True)
class InvocationResult:
    """How an invocation ended; `failure` is None where it succeeded."""

    failure: Failure | None
    return_value: TypedData | None = None


class Worker:
    """Runs the functions of one app directory."""

    def __init__(self, app_directory: Path) -> None:
        self._directory = app_directory.resolve()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def start(self) -> list[FunctionMetadata]:
        """Import and index the app; AppLoadError with the library's own explanation where that fails."""
        os.environ.setdefault(_THREAD_COUNT, _HOST_THREAD_COUNT)
        os.chdir(self._directory)
        if str(self._directory) not in sys.path:
            sys.path.insert(0, str(self._directory))
        runtime.start_threadpool_executor()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="functions-worker", daemon=True)
        self._thread.start()
        return await self._on_worker_loop(self._load())

    async def invoke(self, function_id: str, inputs: Inputs, attempt: Attempt) -> InvocationResult:
        """Run a function once; whatever it raises comes back as a failure, SystemExit included."""
        return await self._on_worker_loop(self._invoke(function_id, inputs, attempt))

    def stop(self) -> None:
        """Stop taking invocations; one that is still running in a thread is left to the end of the process."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=1)

    async def _on_worker_loop[T](self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None, "start comes first"
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _load(self) -> list[FunctionMetadata]:
        request = SimpleNamespace(
            worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=str(self._directory))
        )
        properties = {"protos": PROTOS, "host": "127.0.0.1"}
        try:
            response = await runtime.worker_init_request(
                SimpleNamespace(name="WorkerInitRequest", request=request, properties=properties)
            )
        except BaseException as error:  # SystemExit and its like; the library reports the others itself
            raise AppLoadError(
                f"function_app.py in {self._directory} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        if response.result.status != StatusResult.Success:
            exception = response.result.exception
            raise AppLoadError(
                f"function_app.py in {self._directory} cannot be indexed: {exception.message}\n{exception.stack_trace}"
            )
        metadata = await runtime.functions_metadata_request(SimpleNamespace(name="WorkerMetadataRequest", request=None))
        functions = metadata.function_metadata_results
        if functions is None:
            raise AppLoadError(f"no function_app.py in {self._directory}, or no functions in it")
        for function in functions:
            await runtime.function_load_request(
                SimpleNamespace(
                    name="FunctionLoadRequest",
                    request=SimpleNamespace(
                        function_load_request=SimpleNamespace(function_id=function.function_id, metadata=function)
                    ),
                )
            )
        return [_metadata(function) for function in functions]

    async def _invoke(self, function_id: str, inputs: Inputs, attempt: Attempt) -> InvocationResult:
        invocation = SimpleNamespace(
            invocation_id=str(uuid.uuid4()),
            function_id=function_id,
            input_data=[ParameterBinding(name, value) for name, value in inputs.parameters.items()],
            trigger_metadata=dict(inputs.metadata),
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(
                retry_count=attempt.retry_count,
                max_retry_count=attempt.max_retry_count,
                exception=attempt.failure
                and SimpleNamespace(
                    source="", message=attempt.failure.message, stack_trace=attempt.failure.stack_trace
                ),
            ),
        )
        try:
            response = await runtime.invocation_request(
                SimpleNamespace(
                    name="FunctionInvocationRequest", request=SimpleNamespace(invocation_request=invocation)
                )
            )
        except BaseException as error:
            # The library lets SystemExit and its like through; in the real worker they end the process, here only
            # the invocation. A cancellation counts as the function's own unless it is us who cancel.
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            return InvocationResult(Failure(f"{type(error).__name__}: {error}", ""))
        if response.result.status == StatusResult.Success:
            return InvocationResult(None, response.return_value)
        exception = response.result.exception
        return InvocationResult(Failure(exception.message, exception.stack_trace or ""))


def _metadata(function: Any) -> FunctionMetadata:
    return FunctionMetadata(
        name=function.name,
        function_id=function.function_id,
        bindings=tuple(json.loads(binding) for binding in function.raw_bindings),
        retry=_retry_policy(function.retry_options),
    )


def _retry_policy(options: Any) -> RetryPolicy | None:
    if options is None:
        return None
    if options.retry_strategy == "fixed_delay":
        return RetryPolicy(options.max_retry_count, FixedDelay(options.delay_interval.total_seconds()))
    minimum, maximum = options.minimum_interval.total_seconds(), options.maximum_interval.total_seconds()
    return RetryPolicy(options.max_retry_count, ExponentialBackoff(minimum, maximum))
