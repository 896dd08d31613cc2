"""The simulator's command line."""

import time

import pytest

from local.fleet.__main__ import main
from local.fleet.options import read_options
from telemetry.errors import SettingsError

CONNECTION = (
    "Endpoint=sb://localhost:5672;SharedAccessKeyName=name;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true;"
)


def problems_of(*arguments, environ=None):
    with pytest.raises(SettingsError) as error:
        read_options(arguments, environ or {})
    return error.value.problems


def test_defaults_are_ten_nodes_in_real_time_from_now():
    options = read_options(["--forever", "--stdout"], {})

    assert (options.nodes, options.cluster, options.seed, options.speed) == (10, "sim", 1, 1.0)
    assert (options.sample_interval, options.publish_interval, options.until_ms) == (10.0, 30.0, None)
    assert abs(options.start_ms - time.time() * 1000) < 60_000


def test_the_event_hub_comes_from_flags_else_the_environment_else_the_connection_string():
    environ = {"EVENTHUB_CONNECTION_STRING": CONNECTION, "EVENTHUB_NAME": "telemetry"}
    other = CONNECTION + "EntityPath=other"

    from_environment = read_options(["--forever"], environ)
    from_flags = read_options(["--forever", "--connection-string", other, "--hub", "mine"], environ)
    from_path = read_options(["--forever", "--connection-string", other], {})

    assert (from_environment.connection_string, from_environment.hub) == (CONNECTION, "telemetry")
    assert (from_flags.connection_string, from_flags.hub) == (other, "mine")
    assert from_path.hub == "other"


@pytest.mark.parametrize("text", ["2026-03-02T08:00:00Z", "2026-03-02T08:00", "2026-03-02T09:00:00+01:00"])
def test_the_start_is_an_iso_time_in_utc_unless_it_says_otherwise(text):
    options = read_options(["--minutes", "1.5", "--stdout", "--start", text], {})

    assert options.start_ms == 1_772_438_400_000
    assert options.until_ms == 1_772_438_490_000


def test_since_starts_in_the_past_and_catches_up():
    options = read_options(["--forever", "--stdout", "--since", "7h"], {})

    assert abs(options.start_ms + 7 * 3_600_000 - time.time() * 1000) < 60_000
    assert (options.behind_s, options.speed) == (7 * 3_600.0, 1.0)


def test_a_secret_is_not_shown_with_the_options():
    options = read_options(["--forever"], {"EVENTHUB_CONNECTION_STRING": CONNECTION, "EVENTHUB_NAME": "telemetry"})

    assert "c2VjcmV0" not in repr(options)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nodes", "0"], "--nodes must be a whole number from 1 to 100000, got '0'"),
        (["--nodes", "2.5"], "--nodes must be a whole number"),
        (["--seed", "-1"], "--seed must be a whole number from 0"),
        (["--cluster", "my cluster"], "--cluster must be 1-128 letters"),
        (["--sample-interval", "nan"], "--sample-interval must be a number from 0.1 to 3600, got 'nan'"),
        (["--publish-interval", "25"], "1 to 600 times --sample-interval (10 s), a whole number of times, got 25 s"),
        (["--publish-interval", "5"], "a whole number of times, got 5 s"),
        (["--sample-interval", "0.1", "--publish-interval", "100"], "1 to 600 times --sample-interval (0.1 s)"),
        (["--speed", "-1"], "--speed must be a number from 0 to 100000, got '-1'"),
        (["--senders", "0"], "--senders must be a whole number from 1 to 64"),
        (["--start", "yesterday"], "--start must be 'now' or an ISO 8601 time"),
        (["--start", "1066-10-14"], "--start must be a time from 1970"),
        (["--minutes", "5"], "one of --minutes M and --forever must be given"),
        (["--labels", "labels.jsonl"], "--labels needs --minutes"),
        (["--record", "/no/such/directory/record"], "--record must be a file in a directory that exists"),
        (["--since", "1w"], "--since must be more than 0 and at most 2d, like 90m, 7h, 1d, got '1w'"),
        (["--since", "0h"], "--since must be more than 0"),
        (["--since", "49h"], "--since must be more than 0 and at most 2d"),
        (["--since", "7h", "--speed", "0"], "--since goes with neither --start nor --speed"),
        (["--since", "7h", "--start", "now"], "--since goes with neither --start nor --speed"),
        (["--fault", "meteor"], "--fault meteor: no fault is called"),
    ],
)
def test_a_wrong_option_is_explained(arguments, told):
    (problem,) = problems_of("--forever", "--stdout", *arguments)

    assert told in problem


def test_an_end_must_be_chosen():
    assert problems_of("--stdout") == ["one of --minutes M and --forever must be given: how long to simulate"]


def test_an_event_hub_is_needed_unless_it_goes_to_standard_output():
    missing = problems_of("--forever")
    (wrong,) = problems_of("--forever", "--connection-string", "secret", "--hub", "telemetry")

    assert [problem.split(":")[0] for problem in missing] == [
        "no event hub to publish to",
        "no name of the event hub",
    ]
    assert "Endpoint=sb://HOST/" in wrong and "secret" not in wrong


def test_all_problems_are_told_at_once_with_status_2(capsys):
    status = main(["--nodes", "x", "--fault", "meteor", "--fault", "io_stall:node=3", "--stdout"])

    told = capsys.readouterr().err
    assert status == 2
    assert told.count("\n  - ") == 3
    assert "--help" in told
