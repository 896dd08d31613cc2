"""`Stack`: the whole product, up and watched, as a context manager. For the command line, tests, benchmarks, oracle."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from local.certificates import ensure_certificates
from local.supervisor.child import Child, State
from local.supervisor.data_directory import DataDirectory, StackError
from local.supervisor.endpoints import Endpoints
from local.supervisor.instance_lock import InstanceLock
from local.supervisor.ports import PortChoice, choose_ports, free_port
from local.supervisor.programs import PORTS, make_programs
from local.supervisor.stack_file import StackFile

_STEP_SECONDS = 0.05
_ATTEMPTS_AT_START = 3


class Stack:
    """A local stack on a data directory: `start` it, or use it as a context; it is whole when that returns.

    Programs that die are started again on the same ports and data, unless `restart` is off. With `ports="free"` many
    stacks run side by side. When the owner dies, however that happens, so do its processes.
    """

    def __init__(
        self,
        data_dir: Path | str,
        *,
        faults: bool = True,
        agent: bool = False,
        ports: PortChoice = "free",
        restart: bool = True,
        on_event: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.data = DataDirectory(Path(data_dir).resolve())
        self._faults, self._agent, self._restart = faults, agent, restart
        self._choice: PortChoice = ports
        self._announce = on_event
        self._changed = threading.Condition(threading.RLock())
        self._lock = InstanceLock(self.data.root)
        self._children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self._endpoints: Endpoints | None = None
        self._file: StackFile | None = None
        self._steps: threading.Thread | None = None
        self._stepping = threading.Event()
        self._started = datetime.now(UTC)

    def start(self, on_wait: Callable[[Mapping[str, State]], None] = lambda states: None) -> Self:
        """Start everything; `on_wait` is told, again and again, how far each program is.

        Raises StackError where another supervisor has the directory, or a program does not start.
        """
        self.data.create()
        self._lock.acquire()
        try:
            self._prepare()
            self._await_ready(on_wait)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop everything in reverse order: first who sends, then who processes, then who stores."""
        for names in reversed(_waves(self._children)):
            for name in names:
                self._children[name].ask_to_stop()
            for name in names:
                self._children[name].await_stop(hurry)
        self._stepping.clear()
        if self._steps is not None:
            self._steps.join()
            self._steps = None
        if self._file is not None:
            self._file.remove()
        self._lock.release()

    def process(self, name: str) -> Child:
        """One program, to `kill`, `stop`, `start` or `restart` alone."""
        try:
            return self._children[name]
        except KeyError:
            raise StackError(f"no program {name!r} in this stack; it has {', '.join(self._children)}") from None

    @property
    def processes(self) -> Mapping[str, Child]:
        """Every program by its name, in the order they start."""
        return self._children

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is, and the keys to it."""
        if self._endpoints is None:
            raise StackError("the stack has not been started")
        return self._endpoints

    @property
    def started(self) -> datetime:
        """When `start` was called."""
        return self._started

    @property
    def connection_string(self) -> str:
        """Of the Event Hubs namespace; the event hub is `telemetry`."""
        return self.endpoints.event_hubs

    @property
    def storage_connection_string(self) -> str:
        """Of the storage account: node states, dead letters, checkpoints."""
        return self.endpoints.storage

    @property
    def functions_url(self) -> str:
        """Of the functions host, such as http://127.0.0.1:7071."""
        return self.endpoints.functions_url

    @property
    def host_key(self) -> str:
        """What x-functions-key must be for the function app's HTTP interface."""
        return self.endpoints.keys.functions

    @property
    def master_key(self) -> str:
        """What x-functions-key must be under /admin."""
        return self.endpoints.keys.functions_master

    @property
    def log_analytics_url(self) -> str:
        """Of the Log Analytics stand-in, both of its interfaces."""
        return self.endpoints.log_analytics_url

    @property
    def faults_urls(self) -> Mapping[str, str]:
        """Where faults are ordered: `event-hubs` and `log-analytics`."""
        return self.endpoints.faults_urls

    def env_for_clients(self) -> dict[str, str]:
        """Environment for agents, the fleet simulator, benchmarks and tests; add it to os.environ."""
        return self.endpoints.for_clients()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        self._started = datetime.now(UTC)
        self._ports.update(choose_ports(self._choice, self.data.ports()))
        certificates = ensure_certificates(self.data.root / "certificates")
        self._endpoints = Endpoints(self._ports, self.data.keys(), certificates, self._faults, self._agent)
        self._file = StackFile(self.data, self._endpoints, self._started)
        programs = make_programs(self.data, self._endpoints, agent=self._agent)
        for program in programs:
            self._children[program.name] = Child(
                program,
                self._changed,
                self._announce,
                restart=self._restart,
                may_start=partial(self._were_ready, program.after),
                before_retry=partial(self._take_other_ports, program.name),
            )
            self._children[program.name].want()
        self._stepping.set()
        self._steps = threading.Thread(target=self._step, name="supervisor", daemon=True)
        self._steps.start()

    def _await_ready(self, on_wait: Callable[[Mapping[str, State]], None]) -> None:
        children = self._children.values()
        while True:
            with self._changed:
                states = {child.name: child.state for child in children}
                hopeless = [c for c in children if not c.ready_once and c.failures >= _ATTEMPTS_AT_START]
                ready = all(child.ready_once for child in children)
            on_wait(states)
            if ready:
                self.data.keep_ports(self._ports)
                return
            if hopeless:
                raise StackError(f"{hopeless[0].name} does not start{hopeless[0].log_tail()}")
            time.sleep(_STEP_SECONDS)

    def _step(self) -> None:
        """Look after all children until told to end; the file follows what changes."""
        told: object = None
        while self._stepping.is_set():
            for child in self._children.values():
                child.step()
            now = [(child.state, child.pid, child.starts) for child in self._children.values()]
            if now != told and self._file is not None:
                self._file.write(self._children)
                told = now
            time.sleep(_STEP_SECONDS)

    def _were_ready(self, names: Collection[str]) -> bool:
        return all(self._children[name].ready_once for name in names)

    def _take_other_ports(self, name: str) -> None:
        """Somebody may have taken a port between its choice and the program's start; nobody knows the old one yet."""
        if self._choice != "fixed":
            for port in PORTS[name]:
                self._ports[port] = free_port(self._ports.values())


def _waves(children: Mapping[str, Child]) -> list[list[str]]:
    """The programs in groups that start together."""
    waves: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(children):
        wave = [name for name, child in children.items() if name not in placed and placed >= set(child.program.after)]
        waves.append(wave)
        placed.update(wave)
    return waves
