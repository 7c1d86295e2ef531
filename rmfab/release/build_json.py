"""JSON files of a build: bounded, and with errors that name the file."""

from __future__ import annotations

from collections.abc import Mapping

from rmfab.errors import InputError
from rmfab.json_text import parse_json
from rmfab.release.build_files import BuildFiles


def read_json(files: BuildFiles, name: str) -> Mapping[str, object]:
    """Return the object in a JSON file of a build. Raise InputError, also for a duplicate key."""
    where = files.place(name)
    try:
        value = parse_json(files.read(name, where))
    except ValueError as error:
        raise InputError(f"not the JSON of a build: {error}", where=where) from error
    if not isinstance(value, dict):
        raise InputError("not the JSON of a build: not an object", where=where)
    return value
