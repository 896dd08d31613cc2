"""`python -m local COMMAND`: the parser, and which function does what. For `local.__main__` and tests."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from local import kql, maintenance
from local.supervisor.data_directory import DEFAULT_DATA, DataDirectory, StackError
from local.supervisor.stack_file import find_running


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; 0, 1 where it could not be done, 2 where they are wrong."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.command != "fleet":
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    data = DataDirectory(options.data.resolve())
    try:
        return _run(options, rest, data)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 130


def _run(options: argparse.Namespace, rest: Sequence[str], data: DataDirectory) -> int:
    """Import what the command needs, and nothing else: `kql` should not wait for what `up` needs."""
    match options.command:
        case "up":
            return _up(options)
        case "down":
            from local.supervisor.orders import take_down

            take_down(data)
            print("stopped")
        case "restart":
            from local.supervisor.orders import restart

            print(f"{options.name} runs again, pid {restart(data, options.name)}")
        case "status":
            from local.supervisor.status import status

            return status(data, as_json=options.json)
        case "logs":
            from local.supervisor.logs import show_log

            return show_log(data, options.name, lines=options.lines, follow=options.follow)
        case "kql":
            return _kql(options, data)
        case "maintenance":
            return maintenance.execute(options, storage=find_running(data).environment["STATE_STORAGE"])
        case "fleet":
            return _fleet(rest, data)
    return 0


def _up(options: argparse.Namespace) -> int:
    from local.supervisor.display import Display
    from local.supervisor.stack import Stack
    from local.supervisor.up import up

    display = Display()
    stack = Stack(
        options.data,
        faults=options.faults,
        agent=not options.no_agent,
        ports=options.ports,
        on_event=display.event,
    )
    return up(stack, display)


def _kql(options: argparse.Namespace, data: DataDirectory) -> int:
    environment = find_running(data).environment
    return kql.execute(
        options,
        endpoint=environment["LOG_ANALYTICS_URL"],
        workspace_id=environment["LOG_ANALYTICS_WORKSPACE_ID"],
        token=environment["LOG_ANALYTICS_TOKEN"],
        ca_bundle=Path(environment["SSL_CERT_FILE"]),
    )


def _fleet(arguments: Sequence[str], data: DataDirectory) -> int:
    """Become the fleet simulator, connected to the stack."""
    environment = {} if {"-h", "--help"} & set(arguments) else find_running(data).environment
    os.execve(sys.executable, [sys.executable, "-m", "local.fleet", *arguments], {**os.environ, **environment})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole product on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_text: str, *, add_help: bool = True) -> argparse.ArgumentParser:
        child = commands.add_parser(name, help=help_text, description=help_text, add_help=add_help)
        child.add_argument(
            "--data", type=Path, default=DEFAULT_DATA, help="the stack's directory (default %(default)s)"
        )
        return child

    up = command("up", "start everything and show how it does; Ctrl-C stops it")
    up.add_argument("--no-agent", action="store_true", help="without the agent for this machine")
    up.add_argument("--faults", action="store_true", help="let chaos tests order faults over HTTP")
    ports = up.add_mutually_exclusive_group()
    ports.add_argument(
        "--fixed-ports", action="store_const", const="fixed", dest="ports", help="the well-known ports or nothing"
    )
    ports.add_argument(
        "--free-ports", action="store_const", const="free", dest="ports", help="any free ports but the well-known ones"
    )
    up.set_defaults(ports="preferred")
    command("down", "stop the running stack")
    status = command("status", "show processes and pipeline; exit code 1 when something is down")
    status.add_argument("--json", action="store_true", help="for programs")
    restart = command("restart", "restart one program on its ports and data")
    restart.add_argument("name", help="event-hubs, azurite, log-analytics, functions or agent")
    logs = command("logs", "show the log of one program")
    logs.add_argument("name", help="event-hubs, azurite, log-analytics, functions or agent")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    logs.add_argument("-n", "--lines", type=int, default=100, help="how many lines to begin with (default %(default)s)")
    kql.add_arguments(command("kql", "ask the local Log Analytics workspace in KQL"))
    maintenance.add_arguments(command("maintenance", "plan times in which incidents need nobody to come"))
    command("fleet", "simulate nodes (arguments of `python -m local.fleet`)", add_help=False)
    return parser
