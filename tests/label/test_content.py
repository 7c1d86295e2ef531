"""The content of a label."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmfab.identity.identity import Identity
from rmfab.label.content import label_of
from rmfab.product.product_file import parse_product
from rmfab.secret import Secret


@pytest.mark.parametrize(("security", "shown"), [(0, ""), (1, "00010203"), (2, "00010203")])
def test_a_label_shows_the_pop_where_it_is_asked_for(security: int, shown: str) -> None:
    """A label has product, serial, service name and PoP; with security 0 it has no PoP."""
    text = f'[product]\nname = "Lamp"\nchip = "esp32"\nserial = "L{{n}}"\n[provisioning]\nsecurity = {security}\n'
    identity = Identity("L1", "n", b"c", Secret(b"k"), Secret(bytes(range(64))), None, None, "PROV_3d3e3f", {})
    label = label_of(identity, parse_product(text, Path("product.toml")))
    assert (label.product, label.serial, label.service_name) == ("Lamp", "L1", "PROV_3d3e3f")
    assert label.pop.reveal() == shown
    assert "00010203" not in repr(label)
