"""The agent's kubelet client and collector against a kubelet that is a process: https, tokens, accidents."""

import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme
from agent_process import AgentProcess
from kubelet_process import KubeletProcess

from agent.collector import Kubelet
from agent.host.kubelet import KubeletClient, KubeletError
from agent.host.kubelet_summary import read_pods
from telemetry.envelope import decode
from telemetry.validation import validate

SECONDS = 5.0
RIGHT = "nodes/stats"


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[KubeletProcess]:
    kubelet = KubeletProcess(tmp_path_factory.mktemp("kubelet"), "--pods", "12")
    yield kubelet
    kubelet.stop()


@pytest.fixture
def kubelet(shared) -> Iterator[KubeletProcess]:
    """The same process for all tests, well-behaved and with a fresh token at the beginning of each."""
    shared.misbehave("none")
    shared.rotate("first-token", RIGHT)
    yield shared


@pytest.fixture
def client(kubelet) -> Iterator[Callable[..., KubeletClient]]:
    """Makes clients; they are closed at the end."""
    made = []

    def make(seconds: float = SECONDS, **changes: object) -> KubeletClient:
        made.append(KubeletClient(kubelet.settings(**changes), seconds))
        return made[-1]

    yield make
    for each in made:
        each.close()


def refusal(client: KubeletClient) -> str:
    with pytest.raises(KubeletError) as caught:
        client.summary()
    text = str(caught.value)
    assert len(f"KubeletError: {text}") <= 300, "the sampler cuts what is longer"
    return text


def pods(client: KubeletClient) -> list[str]:
    return [pod.name for pod in read_pods(client.summary())]


def test_the_summary_comes_over_one_kept_connection(kubelet, client):
    ours = client()
    before = kubelet.counts()["connections"]

    names = {tuple(pods(ours)) for _ in range(5)}

    assert len(names) == 1
    assert len(names.pop()) == 12
    # Asking for the counts is a connection too.
    assert kubelet.counts()["connections"] <= before + 1


class TestTokens:
    def test_a_rotated_token_is_used_at_the_next_question(self, kubelet, client):
        ours = client()
        pods(ours)
        kubelet.rotate("second-token\n", RIGHT)
        (kubelet.directory / "tokens.json").write_text(json.dumps({"second-token": [RIGHT]}))

        assert len(pods(ours)) == 12

    def test_an_expired_token_is_401_and_told_so_and_the_next_one_helps(self, kubelet, client):
        ours = client()
        kubelet.rotate("new", RIGHT)
        kubelet.token_file.write_text("old")

        text = refusal(ours)
        kubelet.token_file.write_text("new")

        assert kubelet.url in text
        assert f"does not know the token of AGENT_KUBELET_TOKEN_FILE ({kubelet.token_file})" in text
        assert "old" not in text.replace(str(kubelet.token_file), "")
        assert len(pods(ours)) == 12

    def test_a_missing_right_is_403_and_the_rule_is_named(self, kubelet, client):
        kubelet.rotate("weak", "nodes/proxy")

        text = refusal(client())

        assert "ClusterRole needs a rule with apiGroups [''], resources [nodes/stats], verbs [get]" in text

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "must hold one token, got 0 characters"),
            (b"one two", "must hold one token, got 7 characters"),
            (b"one\r\nX-Header: two", "must hold one token, got 17 characters"),
            (b"\xff\xfe", "AGENT_KUBELET_TOKEN_FILE cannot be read: 'ascii' codec"),
        ],
    )
    def test_a_file_that_holds_no_token_is_named_and_its_content_is_not(self, kubelet, client, content, expected):
        kubelet.token_file.write_bytes(content)

        text = refusal(client())

        assert expected in text
        assert "two" not in text

    def test_a_token_file_that_is_gone_is_named(self, client, tmp_path):
        assert "AGENT_KUBELET_TOKEN_FILE cannot be read: [Errno 2]" in refusal(client(token_file=tmp_path / "none"))


class TestCertificates:
    @pytest.fixture
    def stranger(self, tmp_path):
        """A kubelet whose certificate is another authority's, for another name."""
        authority = trustme.CA()
        made = authority.issue_cert("aks-pool1-1.internal")
        ca, chain, key = tmp_path / "strange-ca.pem", tmp_path / "chain.pem", tmp_path / "key.pem"
        authority.cert_pem.write_to_path(ca)
        made.cert_chain_pems[0].write_to_path(chain)
        made.private_key_pem.write_to_path(key)
        kubelet = KubeletProcess(
            tmp_path / "stranger", "--pods", "3", "--certificate", str(chain), "--private-key", str(key)
        )
        yield kubelet, ca
        kubelet.stop()

    def test_one_of_another_authority_is_refused_and_the_ways_out_are_named(self, kubelet, stranger):
        other, _ = stranger

        text = refusal(KubeletClient(other.settings(ca_file=kubelet.ca_file), SECONDS))

        assert "certificate not signed by AGENT_KUBELET_CA_FILE" in text
        assert "kubelet serving certificate rotation" in text
        assert "AGENT_KUBELET_VERIFY=false" in text
        assert other.counts()["requests"] == 0, "the token has not been shown to it"

    def test_one_for_another_name_is_refused_and_it_is_said_so(self, stranger):
        other, ca = stranger

        text = refusal(KubeletClient(other.settings(ca_file=ca), SECONDS))

        assert "certificate for another name" in text
        assert "127.0.0.1" in text
        assert "AGENT_KUBELET_URL must have a name or address that is in it" in text

    def test_without_verification_any_will_do(self, stranger, tmp_path):
        other, _ = stranger
        client = KubeletClient(other.settings(verify=False, ca_file=tmp_path / "none"), SECONDS)

        assert len(pods(client)) == 3
        client.close()

    @pytest.mark.parametrize("content", [None, b"", b"no certificate"])
    def test_an_authority_that_cannot_be_read_is_named(self, client, tmp_path, content):
        path = tmp_path / "ca.crt"
        if content is not None:
            path.write_bytes(content)

        text = refusal(client(ca_file=path))

        assert "AGENT_KUBELET_CA_FILE must be a file of PEM certificates" in text
        assert str(path) in text

    def test_an_authority_that_is_replaced_is_read_at_the_next_connection(self, kubelet, client, tmp_path):
        path = tmp_path / "ca.crt"
        trustme.CA().cert_pem.write_to_path(path)
        ours = client(ca_file=path)
        refusal(ours)

        path.write_bytes(kubelet.ca_file.read_bytes())

        assert len(pods(ours)) == 12


class TestAccidents:
    def test_a_kubelet_that_does_not_answer_is_given_up_in_time(self, kubelet, client):
        kubelet.misbehave("slow", seconds=20)
        started = time.monotonic()

        text = refusal(client(seconds=0.5))

        assert "has not answered within 0.5 s" in text
        assert 0.4 < time.monotonic() - started < 3

    def test_an_answer_that_trickles_in_is_given_up_in_time(self, kubelet, client):
        kubelet.misbehave("trickle", seconds=20)
        started = time.monotonic()

        assert "has not answered within 1 s" in refusal(client(seconds=1.0))
        assert time.monotonic() - started < 4

    def test_a_slow_answer_within_the_time_is_good(self, kubelet, client):
        kubelet.misbehave("slow", seconds=0.5)

        assert len(pods(client())) == 12

    def test_every_question_has_its_time_anew_on_a_kept_connection(self, kubelet, client):
        ours = client(seconds=3.0)
        kubelet.misbehave("slow", seconds=1.8)

        assert [len(pods(ours)) for _ in range(2)] == [12, 12]

    @pytest.mark.parametrize("fault", ["truncated", "cut"])
    def test_an_answer_that_breaks_off_is_refused(self, kubelet, client, fault):
        kubelet.misbehave(fault)
        ours = client()

        text = refusal(ours)
        kubelet.misbehave("none")

        assert "broke off in the middle of its answer" in text or "cannot be reached" in text
        assert len(pods(ours)) == 12

    def test_an_answer_of_16_mib_is_too_long(self, kubelet, client):
        kubelet.misbehave("huge", mebibytes=17)

        assert "answers with more than 16 MiB" in refusal(client(seconds=30))

    def test_an_error_of_its_own_is_told_with_its_status(self, kubelet, client):
        kubelet.misbehave("status", status=503)
        ours = client()

        assert "answers /stats/summary with status 503" in refusal(ours)
        kubelet.misbehave("none")
        assert len(pods(ours)) == 12

    @pytest.mark.parametrize("document", [b"", b"{", b"[" * 100_000, b'{"pods": 1' + b"0" * 5000 + b"}", b"\xff"])
    def test_what_is_no_json_is_refused(self, tmp_path, document):
        path = tmp_path / "document.json"
        path.write_bytes(document)
        kubelet = KubeletProcess(tmp_path / "kubelet", "--document", str(path))
        client = KubeletClient(kubelet.settings(), SECONDS)
        try:
            assert "answers what is no JSON" in refusal(client)
        finally:
            client.close()
            kubelet.stop()

    def test_a_restarted_kubelet_is_asked_anew_without_a_gap(self, tmp_path):
        kubelet = KubeletProcess(tmp_path / "kubelet", "--pods", "4")
        client = KubeletClient(kubelet.settings(), SECONDS)
        try:
            before = pods(client)
            kubelet.stop()
            kubelet.start("--pods", "4")

            assert pods(client) == before
            assert kubelet.counts()["requests"] == 1, "the kept connection was replaced within one question"

            kubelet.stop()
            assert "refuses connections; AGENT_KUBELET_URL must be this node's address" in refusal(client)
            kubelet.start("--pods", "4")
            assert pods(client) == before
        finally:
            client.close()
            kubelet.stop()

    def test_a_port_that_speaks_no_tls_is_named(self, tmp_path):
        server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        token, ca = tmp_path / "token", tmp_path / "ca.crt"
        token.write_text("token")
        trustme.CA().cert_pem.write_to_path(ca)
        try:
            client = KubeletClient(Kubelet(f"https://127.0.0.1:{server.server_port}", token, ca), SECONDS)
            assert "does not speak TLS as it should" in refusal(client)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class TestAgent:
    """The whole agent, as a process."""

    def run_once(self, kubelet, tmp_path):
        agent = AgentProcess(
            tmp_path / "agent",
            "--once",
            AGENT_COLLECTORS="default,kubernetes",
            AGENT_SAMPLE_INTERVAL="10",
            AGENT_PUBLISH_INTERVAL="30",
            **kubelet.environment(),
        )
        assert agent.process.wait(30) == 0
        envelope = decode(agent.out.read_bytes())
        validate(agent.out.read_bytes(), envelope.time[-1])
        return agent, envelope

    def test_once_shows_the_pods_among_everything_else(self, kubelet, tmp_path):
        agent, envelope = self.run_once(kubelet, tmp_path)

        shown = envelope.devices["pod"]
        assert len(shown["pod"]) == 12
        assert {"pod", "cpu", "mem", "volume", "storage", "restarts"} <= set(shown)
        assert all(value is not None for rows in (shown["cpu"], shown["mem"]) for row in rows for value in row)
        assert {"cpu", "mem"} <= set(envelope.metrics)
        assert agent.log() == []

    def test_a_kubelet_that_refuses_costs_the_pods_only(self, kubelet, tmp_path):
        kubelet.rotate("weak")

        agent, envelope = self.run_once(kubelet, tmp_path)

        assert "pod" not in envelope.devices
        assert {"cpu", "mem"} <= set(envelope.metrics)
        (line,) = agent.log()
        assert (line["event"], line["collector"]) == ("collector_failed", "kubernetes")
        assert "nodes/stats" in line["problem"]

    def test_pods_traffic_is_a_rate_from_the_second_answer(self, kubelet, tmp_path):
        agent = AgentProcess(
            tmp_path / "agent",
            "--stdout",
            AGENT_COLLECTORS="kubernetes",
            AGENT_SAMPLE_INTERVAL="5",
            AGENT_PUBLISH_INTERVAL="15",
            **kubelet.environment(),
        )
        try:
            line = _first_line(agent)
        finally:
            agent.stop()

        envelope = decode(line)
        validate(line, envelope.time[-1])
        rates = envelope.devices["pod"]["rx"]
        moving = [row for row in rates if row[-1] is not None]
        assert len(moving) >= 9, "all but those of the host's network"
        assert all(100 < row[-1] < 1e6 for row in moving), "the stand-in's pods receive 1 to 100 kB/s"


def _first_line(agent: AgentProcess) -> bytes:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        line, end, _ = agent.out.read_bytes().partition(b"\n")
        if end:
            return line
        time.sleep(0.2)
    raise AssertionError("no envelope within a minute")


def test_the_stand_ins_command_line_says_what_is_wrong(tmp_path):
    for arguments, expected in (
        (["--pods", "-1"], "--pods must be 0-10000, got -1"),
        (["--certificate", "x"], "--certificate and --private-key go together"),
        (["--churn", "0"], "--churn must be 1-1000000 s, got 0.0"),
    ):
        finished = subprocess.run(
            [sys.executable, "-m", "local.kubelet", "--data", str(tmp_path), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 2
        assert expected in finished.stderr


def test_the_stand_in_asks_for_tls(kubelet):
    with (
        socket.create_connection(("127.0.0.1", kubelet.port)) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(connection, server_hostname="127.0.0.1")
