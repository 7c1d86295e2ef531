"""The label of no unit, for looking at a style. Its name, PoP and batch say that it is a sample."""

from __future__ import annotations

from rmfab.identity.qr import payload
from rmfab.label.content import Label, UnitFacts
from rmfab.product.product import Product
from rmfab.product.serial import SerialSource
from rmfab.secret import Secret

_POP = Secret("SAMPLE00")
_NODE_ID = "SampleSampleSampleSamp"
_FACTS = UnitFacts("00:00:00:00:00:00", "sample-0001", "0.0.0", "2000-01-01", "A1")


def sample_label(product: Product) -> Label:
    """Return a label as long as those of *product*, with nothing of a unit."""
    name = f"{product.provisioning.name_prefix}_SAMPLE"
    pop = _POP if product.provisioning.has_pop else Secret("")
    code = payload(name, _POP, product.provisioning)
    return Label(product.name, _serial(product), name, pop, code, _NODE_ID, _FACTS)


def _serial(product: Product) -> str:
    """Return a serial that no unit has: number 0, the MAC of zeros, or the word in place of a scanned code."""
    pattern = product.serial
    if pattern.source is SerialSource.COUNTER:
        return f"{pattern.before}{'0' * pattern.width}{pattern.after}"
    return pattern.of_code("SAMPLE") if pattern.source is SerialSource.SCAN else pattern.of_mac("00:00:00:00:00:00")
