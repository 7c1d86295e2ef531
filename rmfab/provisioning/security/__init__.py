"""Security schemes 0, 1 and 2 of protocomm behind one interface: a scheme shakes hands, a session encrypts."""

from __future__ import annotations

from rmfab.provisioning.security.plain import Plain
from rmfab.provisioning.security.security_scheme import SecurityScheme, Session
from rmfab.provisioning.security.srp6a import Srp6a
from rmfab.provisioning.security.x25519 import X25519

__all__ = ["Plain", "SecurityScheme", "Session", "Srp6a", "X25519"]
