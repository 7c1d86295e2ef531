"""The names of a CA's files: apart from it, for whoever only looks whether they are there, without cryptography."""

from __future__ import annotations

CERTIFICATE_FILE = "ca.crt"
KEY_FILE = "ca.key"
