"""What the agent tells of itself: logs, status file, exit codes, and what it loads to do so."""

import io
import json
import logging
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

import agent
from agent.command_line import main, node_share
from agent.json_logs import configure_logging
from agent.status_file import Status, StatusFile

REPOSITORY = Path(agent.__file__).parents[1]


@pytest.fixture
def stream():
    """Standard error of an agent; logging is put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = before
    logging.captureWarnings(False)
    logging.getLogger("azure").setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_fields(stream):
    configure_logging("info", stream)

    logging.getLogger("agent.spool.disk_spool").warning("spool_drops_oldest", extra={"bytes": 5, "path": Path("/x")})

    (line,) = lines(stream)
    assert line.pop("ts").endswith("+00:00")
    assert line == {"level": "warning", "event": "spool_drops_oldest", "bytes": 5, "path": "/x"}


def test_what_libraries_say_keeps_its_text_and_line_breaks_stay_inside_the_line(stream):
    configure_logging("info", stream)

    logging.getLogger("urllib3").warning("two\nlines")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("swap could not be read", RuntimeWarning, stacklevel=1)

    first, second = lines(stream)
    assert (first["event"], first["logger"], first["text"]) == ("library_message", "urllib3", "two\nlines")
    assert "swap could not be read" in second["text"]


def test_an_exception_is_a_field(stream):
    configure_logging("info", stream)

    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("agent").exception("crashed")

    assert "ValueError: boom" in lines(stream)[0]["exception"]


def test_levels_below_the_setting_are_left_out_and_the_sdk_is_heard_at_debug_only(stream):
    configure_logging("warning", stream)
    logging.getLogger("agent").info("status")
    logging.getLogger("azure.eventhub").error("connection lost")
    assert lines(stream) == []


STATUS = Status(instance="0123456789ab", seq=3, published=2, spooled=1, dropped=0, last_publish_ms=1_792_000_000_000)


def test_the_status_file_holds_the_status_and_nothing_else_is_left(tmp_path):
    StatusFile(tmp_path / "status.json").write(STATUS)

    assert json.loads((tmp_path / "status.json").read_text()) == STATUS
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_a_status_file_that_cannot_be_written_is_logged_once_and_stops_nothing(tmp_path, caplog):
    status_file = StatusFile(tmp_path / "missing" / "status.json")

    status_file.write(STATUS)
    status_file.write(STATUS)

    assert [record.getMessage() for record in caplog.records] == ["status_file_fails"]


def test_unusable_settings_end_with_code_two_and_every_problem(capsys, stream):
    assert main([], {"AGENT_SAMPLE_INTERVAL": "0", "AGENT_X": "1"}) == 2

    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert line["event"] == "settings_unusable"
    assert len(line["problems"]) == 4


def test_check_prints_the_settings_without_the_key(capsys, stream):
    connection = "Endpoint=sb://localhost;SharedAccessKeyName=n;SharedAccessKey=very-secret"
    environ = {"AGENT_CLUSTER": "dev", "EVENTHUB_CONNECTION_STRING": connection, "EVENTHUB_NAME": "telemetry"}

    assert main(["--check"], environ) == 0

    printed = capsys.readouterr().out
    assert json.loads(printed)["cluster"] == "dev"
    assert "very-secret" not in printed


def test_modes_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--once", "--stdout"], {})

    assert caught.value.code == 2


def test_a_crash_is_one_line_and_code_one(capsys, stream, monkeypatch):
    def crash(settings):
        raise RuntimeError("boom")

    monkeypatch.setattr("agent.command_line._print_once", crash)

    assert main(["--once"], {}) == 1
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert line["event"] == "crashed" and "RuntimeError: boom" in line["exception"]


def test_the_version_is_the_projects():
    assert agent.__version__ == tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


def test_nodes_have_different_shares_of_the_spread_that_never_change():
    shares = {node_share(f"aks-pool1-{number}") for number in range(100)}

    assert len(shares) == 100
    assert all(0 <= share < 1 for share in shares)
    assert node_share("aks-pool1-0") == node_share("aks-pool1-0")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("agent.command_line", "azure pydantic numpy orjson aiohttp requests cryptography"),
        ("agent.service", "azure pydantic numpy orjson aiohttp requests cryptography"),
        ("agent.publisher.event_hub_publisher", "azure pydantic numpy orjson aiohttp"),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(module, heavy):
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"

    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert not set(result.stdout.split()) & set(heavy.split())


def test_publishing_with_a_key_does_not_load_azure_identity():
    code = "import sys, azure.eventhub.aio; print('azure.identity' in sys.modules, 'msal' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["False", "False"]
