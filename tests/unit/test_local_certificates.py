import ssl
import stat
from datetime import UTC, datetime, timedelta

import certifi
import pytest
from cryptography import x509

from local import certificates
from local.certificates import ensure_certificates


def test_server_certificate_is_trusted_through_authority_and_bundle(tmp_path):
    made = ensure_certificates(tmp_path)

    server = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(made.ca.read_bytes()))
    assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    trusted = ssl.create_default_context(cafile=str(made.bundle)).cert_store_stats()["x509_ca"]
    roots = ssl.create_default_context(cafile=certifi.where()).cert_store_stats()["x509_ca"]
    assert trusted == roots + 1


def test_only_the_owner_may_read_the_private_key_and_the_authority_has_none(tmp_path):
    made = ensure_certificates(tmp_path)

    assert stat.S_IMODE(made.private_key.stat().st_mode) == 0o600
    keys = [path.name for path in tmp_path.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert keys == ["server-key.pem"]


def test_good_certificates_are_kept(tmp_path):
    made = ensure_certificates(tmp_path)
    before = made.certificate.read_bytes()

    assert ensure_certificates(tmp_path) == made
    assert made.certificate.read_bytes() == before


@pytest.mark.parametrize("name", ["ca.pem", "server.pem", "server-key.pem"])
@pytest.mark.parametrize("damage", ["absent", "cut short", "of another authority"])
def test_unusable_certificates_are_made_anew(tmp_path, name, damage):
    made = ensure_certificates(tmp_path / "mine")
    path = made.ca.with_name(name)
    if damage == "absent":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(path.read_bytes()[:100])
    else:
        ensure_certificates(tmp_path / "other")
        path.write_bytes((tmp_path / "other" / name).read_bytes())

    ensure_certificates(tmp_path / "mine")

    server = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(made.ca.read_bytes()))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.certificate, made.private_key)
    assert made.bundle.read_bytes().endswith(made.ca.read_bytes())


def test_certificates_live_for_years_and_are_renewed_a_month_before_their_end(tmp_path, monkeypatch):
    made = ensure_certificates(tmp_path)
    server = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert server.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3600)

    monkeypatch.setattr(certificates, "_RENEW_BEFORE", timedelta(days=4000))
    ensure_certificates(tmp_path)

    renewed = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert renewed.serial_number != server.serial_number
