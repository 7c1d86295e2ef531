"""The provenance of a release: its origin as an in-toto statement (SLSA provenance v1, spec/v1.0/provenance.md)."""

from __future__ import annotations

from typing import Any

from rmfab.json_text import parse_json
from rmfab.release.manifest import STATEMENT_TYPE
from rmfab.release.origin import BuildOrigin
from rmfab.release.parts import PROVENANCE, Document, part_name
from rmfab.release.release import Release
from rmfab.signing import canonical

PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:rmfab:esp-idf-build"


def provenance(release: Release, origin: BuildOrigin) -> Document | None:
    """Return the statement that *release* was built from *origin*, None if the commit is not known."""
    if not origin.commit:
        return None
    source: dict[str, object] = {"digest": {"gitCommit": origin.commit}}
    if origin.repository:
        source["uri"] = f"git+{origin.repository}" + (f"@{origin.ref}" if origin.ref else "")
    if origin.modified:
        source["annotations"] = {"modified": True}
    details: dict[str, object] = {"builder": {"id": origin.builder or "urn:rmfab:by-hand"}}
    if origin.job:
        details["metadata"] = {"invocationId": origin.job}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": part_name(part), "digest": {"sha256": part.sha256}} for part in release.parts],
        "predicateType": PROVENANCE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"project": release.app.project, "target": release.chip.value},
                "internalParameters": {"idf_version": release.idf_version},
                "resolvedDependencies": [source],
            },
            "runDetails": details,
        },
    }
    return Document(PROVENANCE, canonical.encode(statement))


def source_commit(release: Release) -> tuple[str, bool] | None:
    """Return the commit that *release* was built from, and whether its sources were modified.

    None if the release has no provenance, or one that does not say.
    """
    document = next((one for one in release.documents if one.name == PROVENANCE), None)
    try:
        statement: Any = parse_json(document.data) if document is not None else None
        (source,) = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        return str(source["digest"]["gitCommit"]), bool(source.get("annotations", {}).get("modified"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
