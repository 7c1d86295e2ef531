"""The software bill of materials of a release: an SPDX or CycloneDX file as given, or one made by esp-idf-sbom.

Formats: SPDX 2.3 (tag-value, JSON), SPDX 3 (JSON-LD), CycloneDX 1.x (JSON, XML), detected from the content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rmfab.errors import InputError
from rmfab.json_text import parse_json
from rmfab.release.edition import moment
from rmfab.release.parts import Document

MOST_BYTES = 16 << 20
_FORMATS: Mapping[str, str] = {
    "sbom.cdx.json": "CycloneDX JSON",
    "sbom.cdx.xml": "CycloneDX XML",
    "sbom.spdx": "SPDX tag-value",
    "sbom.spdx.json": "SPDX JSON",
    "sbom.spdx3.json": "SPDX 3 JSON-LD",
}
SBOM_NAMES = tuple(_FORMATS)

_CYCLONEDX_XML = re.compile(rb"<(?:\w+:)?bom\b[^>]*cyclonedx\.org/schema/bom")


def read_sbom(data: bytes, where: str) -> Document:
    """Return the bill of materials in *data*. Raise InputError if its format is not supported."""
    if len(data) > MOST_BYTES:
        raise InputError(f"{len(data)} bytes, too large for a bill of materials", where=where, cause="sbom")
    name = _name(data)
    if name is None:
        raise InputError(
            "not a bill of materials in a supported format",
            where=where,
            hint=", ".join(_FORMATS.values()),
            cause="sbom",
        )
    return Document(name, data)


def sbom_format(document: Document) -> str:
    """Return the format of a bill of materials in words."""
    return _FORMATS[document.name]


def settled(tag_value: bytes, created: int, digest: str) -> bytes:
    """Return an SPDX tag-value document of esp-idf-sbom with a time and a namespace that do not change between runs.

    *created* is in Unix seconds; *digest* of what it describes makes its namespace unique (SPDX 2.3, 6.5).
    """
    text = re.sub(rb"(?m)^Created: .*$", f"Created: {moment(created)}".encode(), tag_value)
    return re.sub(rb"(?m)^(DocumentNamespace: .*?)(?:-[0-9a-f-]{36})?$", rb"\1-" + digest[:32].encode(), text)


def _name(data: bytes) -> str | None:
    head = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"SPDXVersion:"):
        return "sbom.spdx"
    if head.startswith(b"<") and _CYCLONEDX_XML.search(head[:4096]):
        return "sbom.cdx.xml"
    try:
        value = parse_json(data)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if value.get("bomFormat") == "CycloneDX":
        return "sbom.cdx.json"
    if "spdxVersion" in value:
        return "sbom.spdx.json"
    return "sbom.spdx3.json" if "spdx.org/rdf/3" in str(value.get("@context")) else None
