"""Settings from the environment: what is right, and everything that is wrong at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collector import Kubelet
from agent.registry import built_in, enabled_by_default
from agent.settings import KNOWN, Listen, Settings, name_from_hostname, read_settings
from telemetry.errors import SettingsError
from telemetry.rules import NAME_PATTERN
from tests.node_tree import NodeTree

CONNECTION = (
    "Endpoint=sb://localhost:5672;SharedAccessKeyName=name;SharedAccessKey=very-secret;UseDevelopmentEmulator=true;"
)
MINIMUM = {"AGENT_CLUSTER": "dev", "EVENTHUB_CONNECTION_STRING": CONNECTION, "EVENTHUB_NAME": "telemetry"}


def read(*, publishing: bool = True, **more: str) -> Settings:
    return read_settings({**MINIMUM, **more}, publishing=publishing)


def problems(environ: dict[str, str], *, publishing: bool = True) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ, publishing=publishing)
    return caught.value.problems


def problem(**more: str) -> str:
    (only,) = problems({**MINIMUM, **more})
    return only


def test_the_defaults_are_ten_and_thirty_seconds():
    settings = read()

    assert (settings.sample_interval, settings.publish_interval, settings.samples_per_envelope) == (10, 30, 3)
    assert settings.spool.max_bytes == 64 * 1024 * 1024
    assert settings.spool.max_age == 86_400
    assert settings.host.procfs == "/proc"
    assert settings.pool is settings.status_file is settings.listen is None
    assert settings.collectors == enabled_by_default() and "kubernetes" not in settings.collectors
    assert not settings.host.in_container


@pytest.fixture
def tree(tmp_path) -> NodeTree:
    tree = NodeTree(tmp_path)
    tree.basics()
    return tree


def test_everything_can_be_set(tree):
    settings = read(
        AGENT_NODE="Node_1.x",
        AGENT_POOL="pool1",
        AGENT_SAMPLE_INTERVAL="0.5",
        AGENT_PUBLISH_INTERVAL="60",
        AGENT_PUBLISH_SPREAD="0",
        AGENT_SPOOL_DIR="/tmp/spool",
        AGENT_SPOOL_MAX_BYTES="1000000",
        AGENT_SPOOL_MAX_AGE="3600",
        AGENT_SPOOL_FSYNC="true",
        AGENT_STATUS_FILE="/tmp/status.json",
        AGENT_LOG_LEVEL="Warning",
        AGENT_COLLECTORS="memory, cpu",
        AGENT_DISK_EXCLUDE="^sd",
        AGENT_MOUNT_EXCLUDE="^/mnt",
        AGENT_FS_TYPE_EXCLUDE="^xfs$",
        AGENT_NET_EXCLUDE="^eth",
        AGENT_PROCFS=f"{tree.proc}/",
        AGENT_SYSFS=str(tree.sys),
        AGENT_ROOTFS=str(tree.root),
        AGENT_HTTP_LISTEN="0.0.0.0:9464",
        AGENT_KUBELET_URL="https://10.0.0.4:10250/",
        AGENT_KUBELET_TOKEN_FILE="/token",
        AGENT_KUBELET_CA_FILE="/ca.crt",
        AGENT_KUBELET_VERIFY="False",
    )

    assert (settings.node, settings.pool, settings.samples_per_envelope) == ("Node_1.x", "pool1", 120)
    assert settings.publish_spread == 0
    assert str(settings.spool.directory) == "/tmp/spool"
    assert settings.spool.fsync
    assert settings.log_level == "warning"
    assert settings.collectors == ("memory", "cpu")
    assert settings.host.disks.exclude == "^sd"
    assert str(settings.status_file) == "/tmp/status.json"
    host = settings.host
    assert (host.procfs, host.sysfs, host.rootfs) == (str(tree.proc), str(tree.sys), str(tree.root))
    assert host.in_container
    assert settings.listen == Listen("0.0.0.0", 9464)
    assert host.kubelet == Kubelet("https://10.0.0.4:10250", Path("/token"), Path("/ca.crt"), verify=False)


@pytest.mark.parametrize(("sample", "publish", "count"), [("0.1", "0.3", 3), ("10", "35", 3), ("7", "7", 1)])
def test_an_envelope_has_the_samples_that_fit_a_publish_interval(sample, publish, count):
    assert read(AGENT_SAMPLE_INTERVAL=sample, AGENT_PUBLISH_INTERVAL=publish).samples_per_envelope == count


def test_a_sample_interval_over_thirty_seconds_brings_its_publish_interval_along():
    assert read(AGENT_SAMPLE_INTERVAL="300").publish_interval == 300


def test_the_node_is_named_by_its_own_setting_then_kubernetes_then_the_host():
    assert read(AGENT_NODE="a", NODE_NAME="b").node == "a"
    assert read(NODE_NAME="b").node == "b"
    assert read().node


@given(st.text(max_size=300))
def test_any_hostname_gives_a_valid_node_name(hostname):
    import re

    assert re.match(NAME_PATTERN, name_from_hostname(hostname))


def test_printing_needs_neither_cluster_nor_hub():
    settings = read_settings({}, publishing=False)

    assert (settings.cluster, settings.hub) == ("local", None)


def test_a_namespace_needs_no_key():
    settings = read_settings(
        {"AGENT_CLUSTER": "c", "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "x.servicebus.windows.net", "EVENTHUB_NAME": "t"},
        publishing=True,
    )

    assert settings.hub is not None
    assert (settings.hub.namespace, settings.hub.connection_string) == ("x.servicebus.windows.net", None)


def test_the_hub_may_be_named_inside_the_connection_string():
    settings = read(EVENTHUB_NAME="", EVENTHUB_CONNECTION_STRING=f"{CONNECTION}EntityPath=inside")

    assert settings.hub is not None and settings.hub.name == "inside"


def test_empty_variables_count_as_unset():
    assert read(AGENT_POOL="", AGENT_SAMPLE_INTERVAL=" ", EVENTHUB_FULLY_QUALIFIED_NAMESPACE="").pool is None


def test_all_problems_are_reported_at_once():
    found = problems(
        {
            "AGENT_NODE": "-bad-",
            "AGENT_SAMPLE_INTERVAL": "0",
            "AGENT_PUBLISH_INTERVAL": "soon",
            "AGENT_COLLECTORS": "cpu,gpu",
            "AGENT_DISK_EXCLUDE": "(",
            "AGENT_LOG_LEVEL": "loud",
            "AGENT_PROCFS": "/no/such/directory",
            "AGENT_SPOOL_MAX_BYTES": "1",
            "AGENT_NET_INCLUDE": "^eth",
            "AGENT_NET_EXCLUDE": "^lo$",
            "AGENT_HTTP_LISTEN": "9464",
            "AGENT_KUBELET_URL": "10.0.0.4",
            "AGENT_KUBELET_VERIFY": "maybe",
        }
    )

    assert [text.split(" ")[0] for text in found] == [
        "AGENT_CLUSTER",
        "AGENT_NODE",
        "AGENT_SAMPLE_INTERVAL",
        "AGENT_PUBLISH_INTERVAL",
        "AGENT_COLLECTORS",
        "AGENT_LOG_LEVEL",
        "AGENT_PROCFS",
        "AGENT_ROOTFS",
        "AGENT_DISK_EXCLUDE",
        "AGENT_NET_INCLUDE",
        "AGENT_KUBELET_URL",
        "AGENT_KUBELET_VERIFY",
        "AGENT_HTTP_LISTEN",
        "AGENT_SPOOL_MAX_BYTES",
        "EVENTHUB_CONNECTION_STRING",
    ]


@pytest.mark.parametrize("value", ["0", "0.05", "3601", "-1", "ten", "nan", "inf", "1e999"])
def test_a_sample_interval_out_of_range_is_refused_with_its_value(value):
    assert problem(AGENT_SAMPLE_INTERVAL=value) == (
        f"AGENT_SAMPLE_INTERVAL must be a number from 0.1 to 3600, got {value!r}"
    )


def test_publishing_more_often_than_sampling_is_refused():
    assert "at least AGENT_SAMPLE_INTERVAL (10 s), got 5" in problem(AGENT_PUBLISH_INTERVAL="5")


def test_more_samples_than_an_envelope_holds_are_refused():
    text = problem(AGENT_SAMPLE_INTERVAL="0.1", AGENT_PUBLISH_INTERVAL="61")

    assert "at most 600 times AGENT_SAMPLE_INTERVAL (60 s), got 61" in text


@pytest.mark.parametrize("name", ["-a", "a-", "a/b", "a b", "ä", "x" * 129, "."])
@pytest.mark.parametrize("variable", ["AGENT_CLUSTER", "AGENT_NODE", "NODE_NAME"])
def test_names_that_receivers_refuse_are_refused(variable, name):
    assert problem(**{variable: name}).startswith(f"{variable} must be 1-128 letters")


def test_an_unknown_variable_is_a_typing_error_with_a_suggestion():
    assert "did you mean AGENT_SAMPLE_INTERVAL?" in problem(AGENT_SAMPLE_INTERVALL="5")
    assert "did you mean" not in problem(AGENT_ZZZZ="5")


@pytest.mark.parametrize(
    "variable",
    ["AGENT_SERVICE_HOST", "AGENT_SERVICE_PORT_HTTP", "AGENT_PORT", "AGENT_PORT_80_TCP_ADDR", "AGENT_X_SERVICE_HOST"],
)
def test_what_kubernetes_says_about_services_named_agent_is_ignored(variable):
    assert variable not in KNOWN
    assert read(**{variable: "10.0.0.1"})


def test_key_and_identity_together_are_refused():
    assert "both set" in problem(EVENTHUB_FULLY_QUALIFIED_NAMESPACE="x.servicebus.windows.net")


@pytest.mark.parametrize("namespace", ["sb://x.servicebus.windows.net", "x", "x.y/", "x.servicebus.windows.net:5671"])
def test_a_namespace_that_is_no_host_name_is_refused(namespace):
    environ = {"AGENT_CLUSTER": "c", "EVENTHUB_NAME": "t", "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": namespace}

    (only,) = problems(environ)

    assert repr(namespace) in only


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("very-secret", "Endpoint"),
        ("Endpoint=https://x;SharedAccessKeyName=n;SharedAccessKey=very-secret", "Endpoint"),
        ("Endpoint=sb://x;SharedAccessKey=very-secret", "SharedAccessKeyName"),
        ("Endpoint=sb://x;SharedAccessKeyName=very-secret", "SharedAccessKey"),
    ],
)
def test_a_broken_connection_string_is_refused_without_showing_it(text, missing):
    found = problems({**MINIMUM, "EVENTHUB_CONNECTION_STRING": text})

    assert any(missing in each for each in found)
    assert "very-secret" not in "".join(found)


def test_two_names_for_the_hub_must_agree():
    assert "EntityPath=other" in problem(EVENTHUB_CONNECTION_STRING=f"{CONNECTION}EntityPath=other")


@pytest.mark.parametrize("name", ["", "a b", "-t", "x" * 257])
def test_a_hub_name_is_needed_and_checked(name):
    assert problem(EVENTHUB_NAME=name).startswith("EVENTHUB_NAME must be")


def test_a_hub_that_is_set_is_checked_even_when_nothing_is_published():
    assert problems({"EVENTHUB_CONNECTION_STRING": "nonsense", "EVENTHUB_NAME": "t"}, publishing=False)


def test_neither_summary_nor_representation_shows_the_key():
    settings = read()

    assert "very-secret" not in f"{settings!r} {settings.summary()}"
    assert settings.summary()["credential"] == "connection string"


def test_an_interval_that_cannot_be_used_is_not_compared_with_the_other():
    assert problem(AGENT_SAMPLE_INTERVAL="0", AGENT_PUBLISH_INTERVAL="1").startswith("AGENT_SAMPLE_INTERVAL")


@pytest.mark.parametrize("pair", ["AGENT_DISK", "AGENT_MOUNT", "AGENT_FS_TYPE", "AGENT_NET"])
def test_including_and_excluding_at_once_is_refused(pair):
    assert f"{pair}_INCLUDE and {pair}_EXCLUDE are both set" in problem(
        **{f"{pair}_INCLUDE": "^a", f"{pair}_EXCLUDE": "^b"}
    )


def test_what_is_included_replaces_the_defaults():
    host = read(AGENT_NET_INCLUDE="^(eth0|docker0)$", AGENT_DISK_EXCLUDE="^sdb$").host

    assert [name for name in ("eth0", "eth1", "docker0", "lo") if host.interfaces.takes(name)] == ["eth0", "docker0"]
    assert [name for name in ("sda", "sda1", "sdb") if host.disks.takes(name)] == ["sda", "sda1"]


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a{99999999999}", "(?P<a>x)(?P<a>y)"])
@pytest.mark.parametrize("variable", ["AGENT_DISK_INCLUDE", "AGENT_MOUNT_EXCLUDE"])
def test_a_pattern_that_is_no_regular_expression_is_refused_with_the_reason(variable, pattern):
    text = problem(**{variable: pattern})

    assert text.startswith(f"{variable} must be a regular expression (") and repr(pattern) in text


def test_default_stands_for_the_collectors_that_run_by_themselves():
    default = enabled_by_default()

    assert read(AGENT_COLLECTORS="default").collectors == default
    assert read(AGENT_COLLECTORS="network, default,network").collectors == (
        "network",
        *(name for name in default if name != "network"),
    )


@pytest.mark.parametrize("value", ["cpu,gpu", "CPU", ",", "cpu memory", "no.such.plugin", "../cpu", "__init__"])
def test_collectors_that_are_not_there_are_refused_with_the_list_of_those_that_are(value):
    text = problem(AGENT_COLLECTORS=value)

    assert text.endswith(f"got {value!r}")
    assert all(name in text for name in ("default", *built_in()))


@pytest.mark.parametrize("variable", ["AGENT_PROCFS", "AGENT_SYSFS", "AGENT_ROOTFS"])
def test_a_place_of_the_node_that_is_no_directory_is_refused(variable, tmp_path):
    (tmp_path / "file").touch()

    for path in (tmp_path / "file", tmp_path / "missing"):
        environ = {**MINIMUM, "AGENT_COLLECTORS": "cpu", variable: str(path)}
        assert problems(environ) == [f"{variable} must be a directory that exists, got {str(path)!r}"]


@pytest.mark.parametrize("missing", ["stat", "meminfo"])
def test_a_directory_that_is_no_proc_file_system_is_refused(tree, missing):
    (tree.proc / missing).unlink()

    assert problem(AGENT_PROCFS=str(tree.proc), AGENT_ROOTFS=str(tree.root)) == (
        f"AGENT_PROCFS must be where the node's /proc is mounted, got {str(tree.proc)!r}, where no stat and meminfo "
        "can be read"
    )


def test_a_container_without_the_nodes_root_is_refused_unless_file_systems_are_not_asked_for(tree):
    text = problem(AGENT_PROCFS=str(tree.proc))

    assert text.startswith("AGENT_ROOTFS must be where the node's root directory is mounted")
    assert read(AGENT_PROCFS=str(tree.proc), AGENT_COLLECTORS="cpu,network").host.in_container


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:0", "127.0.0.1", 0), ("[::]:9464", "::", 9464), ("localhost:65535", "localhost", 65535)],
)
def test_where_to_listen_is_a_host_and_a_port(text, host, port):
    assert read(AGENT_HTTP_LISTEN=text).listen == Listen(host, port)


@pytest.mark.parametrize(
    "text", ["9464", ":9464", "0.0.0.0", "0.0.0.0:65536", "0.0.0.0:-1", "0.0.0.0:http", "::9464", "http://0.0.0.0:9464"]
)
def test_where_to_listen_that_is_no_host_and_port_is_refused(text):
    assert problem(AGENT_HTTP_LISTEN=text).startswith("AGENT_HTTP_LISTEN must be HOST:PORT")


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.4:10250",
        "10.0.0.4:10250",
        "https://10.0.0.4",
        "https://10.0.0.4:0",
        "https://10.0.0.4:65536",
        "https://fd00::4:10250",
        "https://10.0.0.4:10250/stats",
        "https://user@10.0.0.4:10250",
        "https://:10250",
    ],
)
def test_a_kubelet_address_that_is_none_is_refused(url):
    assert problem(AGENT_KUBELET_URL=url) == (
        f"AGENT_KUBELET_URL must be https://HOST:PORT without a path, an IPv6 address in brackets, got {url!r}"
    )


def test_an_ipv6_kubelet_is_named_in_brackets():
    assert read(AGENT_KUBELET_URL="https://[fd00::4]:10250").host.kubelet.url == "https://[fd00::4]:10250"


def test_the_kubernetes_collector_needs_the_kubelets_address_and_its_files(tmp_path):
    found = problems({**MINIMUM, "AGENT_COLLECTORS": "kubernetes"})
    assert [text.split(" ")[0] for text in found] == [
        "AGENT_KUBELET_URL",
        "AGENT_KUBELET_TOKEN_FILE",
        "AGENT_KUBELET_CA_FILE",
    ]

    (tmp_path / "token").touch()
    settings = read(
        AGENT_COLLECTORS="kubernetes",
        AGENT_KUBELET_URL="https://node:10250",
        AGENT_KUBELET_TOKEN_FILE=str(tmp_path / "token"),
        AGENT_KUBELET_VERIFY="false",
    )
    assert settings.collectors == ("kubernetes",)


@pytest.mark.parametrize("endpoint", ["sb://[", "sb://", "", "sb:///x", "sb://]x["])
def test_an_endpoint_that_is_no_address_is_refused_without_showing_it(endpoint):
    text = f"Endpoint={endpoint};SharedAccessKeyName=n;SharedAccessKey=very-secret"

    assert problem(EVENTHUB_CONNECTION_STRING=text) == (
        "EVENTHUB_CONNECTION_STRING must have Endpoint=sb://HOST/ (its value is not shown)"
    )


LIKELY = st.sampled_from(
    ["", "0", "-1", "1e999", "nan", "true", "/", "cpu", "(", "a,b", "https://x", "0.0.0.0:1", "\x00"]
)


@given(st.dictionaries(st.sampled_from(sorted(KNOWN)), LIKELY | st.text(max_size=20)))
def test_whatever_is_set_is_used_or_refused_with_its_name(environ):
    try:
        read_settings({**MINIMUM, **environ}, publishing=True)
    except SettingsError as error:
        assert all(text.startswith(("AGENT_", "EVENTHUB_")) for text in error.problems)
