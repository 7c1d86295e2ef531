"""`[cloud]`: where units are registered, in product.toml or in a deployment file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmfab.errors import ComplaintsError
from rmfab.product.deployment import Deployment, load_deployment
from rmfab.product.vocabulary import CloudKind

NEO = """\
[cloud]
kind = "neo"
api = "https://localhost:8443/prod/"
user = "admin@example.com"
ca = "ca.crt"
region = "eu-central-1"
client_id = "1h57k"
sign_in = "https://localhost:8443/cognito"
"""


def load(tmp_path: Path, text: str) -> Deployment:
    path = tmp_path / "deployment.toml"
    path.write_text(text)
    return load_deployment(path)


def test_a_deployment_file(tmp_path: Path) -> None:
    """A deployment file has the table [cloud]; its CA is relative to it, and a URL ends without a slash."""
    found = load(tmp_path, NEO)
    assert (found.kind, found.api, found.user) == (CloudKind.NEO, "https://localhost:8443/prod", "admin@example.com")
    assert (found.ca, found.region, found.iot) == (tmp_path / "ca.crt", "eu-central-1", "")
    assert load(tmp_path, "[cloud]\n") == Deployment()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('api = "http://a.example/dev"', "not the URL of an API"),
        ('api = "https://me:secret@a.example/dev"', "not the URL of an API"),
        ('api = "https://a.example/dev?x=1"', "not the URL of an API"),
        ('api = "https://a.example:99999/dev"', "not the URL of an API"),
        ('api = "https://a.example/ dev"', "not the URL of an API"),
        ('user = "a b"', "expected a user name"),
        ('kind = "classic"', "not one of rainmaker, neo"),
        ('region = "us-east-1"', "only RainMaker Neo has this"),
        ('kind = "neo"\nregion = "mars"', "not a region of AWS"),
        ('kind = "neo"\nclient_id = "a b"', "not the id of an app client"),
        ("enforce = true", "unknown key"),
    ],
)
def test_what_is_wrong(tmp_path: Path, line: str, told: str) -> None:
    """Each wrong key is a complaint; a password in a URL, and a URL without TLS, are refused."""
    with pytest.raises(ComplaintsError, match=told):
        load(tmp_path, f"[cloud]\n{line}\n")
