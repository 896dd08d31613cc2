"""A throw-away certificate authority and a server certificate for https on loopback.

Azure's SDKs send bearer tokens over https only, so the local stand-ins speak it too; clients trust them by
SSL_CERT_FILE and REQUESTS_CA_BUNDLE pointing at the bundle. Any part of `local` may import this module.
"""

import fcntl
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import trustme
from cryptography import x509

HOSTS = ("127.0.0.1", "localhost", "::1")

_LIFETIME = timedelta(days=3650)
_RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files: our authority, the server's chain and key, and a bundle to trust.

    `bundle` holds the public roots and our authority, for SSL_CERT_FILE and REQUESTS_CA_BUNDLE.
    """

    ca: Path
    certificate: Path
    private_key: Path
    bundle: Path


def ensure_certificates(folder: Path) -> Certificates:
    """Return the certificates in a folder, made anew unless they are whole and valid for 30 days or more.

    The authority's own key is never written, so nobody can issue another certificate that the bundle trusts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    certificates = Certificates(
        folder / "ca.pem", folder / "server.pem", folder / "server-key.pem", folder / "bundle.pem"
    )
    lock = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _usable(certificates):
            _issue(certificates)
        bundle = Path(certifi.where()).read_bytes() + b"\n" + certificates.ca.read_bytes()
        if not certificates.bundle.exists() or certificates.bundle.read_bytes() != bundle:
            _write(certificates.bundle, bundle, 0o644)
    finally:
        os.close(lock)
    return certificates


def _issue(certificates: Certificates) -> None:
    expires = datetime.now(UTC) + _LIFETIME
    authority = trustme.CA(organization_name="DevOps Monitor local stack")
    server = authority.issue_cert(*HOSTS, not_after=expires)
    chain = b"".join(blob.bytes() for blob in server.cert_chain_pems)
    _write(certificates.ca, authority.cert_pem.bytes(), 0o644)
    _write(certificates.private_key, server.private_key_pem.bytes(), 0o600)
    _write(certificates.certificate, chain, 0o644)


def _usable(certificates: Certificates) -> bool:
    """Whether all files are there, belong together and stay valid long enough."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.private_key)
        authority = x509.load_pem_x509_certificate(certificates.ca.read_bytes())
        server = x509.load_pem_x509_certificate(certificates.certificate.read_bytes())
        server.verify_directly_issued_by(authority)
    except Exception:  # absent, cut short, of another pair: all mean that new ones are due
        return False
    soon = datetime.now(UTC) + _RENEW_BEFORE
    return authority.not_valid_after_utc > soon and server.not_valid_after_utc > soon


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole or not at all, never readable by others before its mode says so."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    unfinished.replace(path)
