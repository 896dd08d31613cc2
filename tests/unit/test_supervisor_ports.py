import socket

import pytest

from local.supervisor.data_directory import StackError
from local.supervisor.ports import WELL_KNOWN, choose_ports, free_port, is_free


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


def test_free_ports_are_distinct_and_below_those_of_clients():
    ports = choose_ports("free", {})

    assert set(ports) == set(WELL_KNOWN)
    assert len(set(ports.values())) == len(ports)
    assert all(20_000 <= port < 32_000 for port in ports.values())


def test_remembered_ports_are_taken_again():
    before = choose_ports("free", {})

    assert choose_ports("free", before) == before


def test_a_remembered_port_that_is_taken_is_replaced(listener):
    taken = listener.getsockname()[1]

    ports = choose_ports("free", {"functions": taken})

    assert ports["functions"] != taken


def test_preferred_takes_well_known_ports_where_they_are_free():
    ports = choose_ports("preferred", {})

    for name, well_known in WELL_KNOWN.items():
        assert ports[name] == well_known or not is_free(well_known) or 20_000 <= ports[name] < 32_000


def test_preferred_falls_back_to_a_free_port(listener, monkeypatch):
    taken = listener.getsockname()[1]
    monkeypatch.setattr("local.supervisor.ports.WELL_KNOWN", {"functions": taken})

    ports = choose_ports("preferred", {})

    assert ports["functions"] != taken


def test_fixed_names_the_port_that_is_taken(listener, monkeypatch):
    taken = listener.getsockname()[1]
    monkeypatch.setattr("local.supervisor.ports.WELL_KNOWN", {"functions": taken})

    with pytest.raises(StackError, match=rf"port {taken} \(functions\) is taken"):
        choose_ports("fixed", {})


def test_fixed_takes_no_remembered_port(monkeypatch):
    well_known, remembered = free_port(), free_port()
    monkeypatch.setattr("local.supervisor.ports.WELL_KNOWN", {"functions": well_known})

    assert choose_ports("fixed", {"functions": remembered}) == {"functions": well_known}


def test_a_port_somebody_listens_on_is_not_free(listener):
    assert not is_free(listener.getsockname()[1])


def test_no_free_port_is_said(monkeypatch):
    monkeypatch.setattr("local.supervisor.ports.is_free", lambda port: False)

    with pytest.raises(StackError, match="found no free port"):
        free_port()
