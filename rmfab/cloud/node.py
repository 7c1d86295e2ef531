"""What a cloud learns about a unit when it is registered: its node id and its certificate, and nothing secret."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509

from rmfab.errors import InputError, IntegrityError
from rmfab.identity.certificate import common_names, is_issued_by
from rmfab.identity.sealed_record import certificate_id
from rmfab.secret import Secret


@dataclass(frozen=True)
class Node:
    """A unit as its cloud knows it: *certificate* is DER.

    *serial* is None as long as the unit gets its serial with its board, *mac* as long as it has no board. *payload* is
    the QR payload, only for whoever asked for it: it contains the PoP. Raise IntegrityError if the certificate is not
    for *node_id*: clouds register the common name of the certificate, whatever stands beside it.
    """

    node_id: str
    certificate: bytes
    serial: str | None
    batch: str
    state: str
    mac: str | None = None
    payload: Secret[str] | None = None

    def __post_init__(self) -> None:
        try:
            names = common_names(self.parsed)
        except ValueError as error:
            raise IntegrityError("the certificate is damaged", where=self.node_id, cause="certificate") from error
        if names != [self.node_id]:
            raise IntegrityError("the certificate is for a different node", where=self.node_id, cause="certificate")

    @cached_property
    def parsed(self) -> x509.Certificate:
        """The certificate. Raise ValueError if it is not one."""
        return x509.load_der_x509_certificate(self.certificate)

    @property
    def pem(self) -> str:
        """The certificate as PEM, with lines of 64 characters (RFC 7468, section 2) and a newline at the end."""
        return ssl.DER_cert_to_PEM_cert(self.certificate)

    @property
    def certificate_id(self) -> str:
        """The name that AWS IoT gives the certificate."""
        return certificate_id(self.certificate)

    def refuse_other_ca(self, ca: x509.Certificate) -> None:
        """Raise InputError unless *ca* signed the certificate."""
        if not is_issued_by(self.parsed, ca):
            raise InputError(
                "a different CA signed the certificate",
                where=self.serial or self.node_id,
                hint="pass the certificate of the batch's own CA with --ca",
                cause="ca-certificate",
            )
