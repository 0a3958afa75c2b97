"""How nodes know each other: TLS 1.3 in both directions, with one certificate whose key is derived from the secret that they share.

Who does not have the secret can neither answer nor ask, nor read what passes; TLS keeps requests from being repeated or changed. Each node
makes the same certificate, so that nothing has to be handed out but the secret.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME = "portico-cluster"
_FROM, _TO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Trust:
    """The two sides of a connection between nodes."""

    serving: ssl.SSLContext
    asking: ssl.SSLContext


def trust_of(secret: str, directory: Path) -> Trust:
    """What a shared secret comes to. `directory` is private; a file is in it for a moment, because OpenSSL reads keys from files."""
    seed = HKDF(algorithm=SHA256(), length=32, salt=b"portico", info=b"cluster").derive(secret.encode())
    key = Ed25519PrivateKey.from_private_bytes(seed)
    certificate = _certificate(key).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    serving = _context(ssl.PROTOCOL_TLS_SERVER, certificate, private, directory)
    return Trust(serving, _context(ssl.PROTOCOL_TLS_CLIENT, certificate, private, directory))


def _certificate(key: Ed25519PrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_FROM)
        .not_valid_after(_TO)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )


def _context(protocol: int, certificate: bytes, private: bytes, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Nodes are known by the key, not by their names.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=certificate.decode())
    descriptor, name = tempfile.mkstemp(dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate + private)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
    return context
