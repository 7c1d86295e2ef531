"""The rules of the package's structure that import-linter does not check."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

import rmfab

ROOT = Path(rmfab.__file__).parent
SOURCES = sorted(path for path in ROOT.rglob("*.py") if not path.name.endswith("_pb2.py"))
MOST_PARAMETERS = 8
MOST_LINES = 50
NAMES_THAT_SAY_NOTHING = {"utils.py", "helpers.py", "common.py", "base.py", "constants.py"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """The import graph: imports at the top of files, in functions, and for type checking only."""
    return grimp.build_graph(
        "rmfab", include_external_packages=True, exclude_type_checking_imports=False, cache_dir=None
    )


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    """The syntax trees of the sources."""
    return {path: ast.parse(path.read_text()) for path in SOURCES}


def functions(trees: dict[Path, ast.Module]) -> Iterator[tuple[str, Function]]:
    """Yield every function and method with its file, line and name."""
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def parameters(function: Function) -> int:
    """Return the number of parameters, without self and cls."""
    given = function.args
    named = [one.arg for one in (*given.posonlyargs, *given.args) if one.arg not in ("self", "cls")]
    return len(named) + len(given.kwonlyargs) + (given.vararg is not None) + (given.kwarg is not None)


def is_click_callback(place: str, function: Function) -> bool:
    """Return whether Click calls the function, so that its parameters are the command's options."""
    called = [one.func if isinstance(one, ast.Call) else one for one in function.decorator_list]
    words = {one.attr for one in called if isinstance(one, ast.Attribute)}
    return place.startswith("commands/") and bool(words & {"command", "group"})


def test_no_import_circle(imports: grimp.ImportGraph) -> None:
    """There are no import cycles, even in imports for type checking only."""
    ours = {module for module in imports.modules if module.split(".")[0] == "rmfab"}
    sorter = TopologicalSorter({module: imports.find_modules_directly_imported_by(module) & ours for module in ours})
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def test_a_public_class_name_stands_once(trees: dict[Path, ast.Module]) -> None:
    """No two public classes have the same name."""
    places = defaultdict(list)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_functions_have_few_parameters(trees: dict[Path, ast.Module]) -> None:
    """A function has at most 8 parameters. Click callbacks are exempt: they have one per option."""
    many = {
        place: parameters(function)
        for place, function in functions(trees)
        if parameters(function) > MOST_PARAMETERS and not is_click_callback(place, function)
    }
    assert many == {}


def test_functions_are_short(trees: dict[Path, ast.Module]) -> None:
    """A function has at most 50 lines, including signature and docstring."""
    sizes = {place: (function.end_lineno or 0) - function.lineno + 1 for place, function in functions(trees)}
    assert {place: size for place, size in sizes.items() if size > MOST_LINES} == {}


def test_a_file_name_says_what_is_inside() -> None:
    """No file has a generic name such as utils or helpers."""
    assert [str(path.relative_to(ROOT)) for path in SOURCES if path.name in NAMES_THAT_SAY_NOTHING] == []


def test_every_room_says_what_it_is(trees: dict[Path, ast.Module]) -> None:
    """The `__init__.py` of every package has a docstring."""
    rooms = [path for path in trees if path.name == "__init__.py"]
    assert [str(path.parent.relative_to(ROOT)) for path in rooms if not ast.get_docstring(trees[path])] == []


def test_only_the_command_line_knows_click(imports: grimp.ImportGraph) -> None:
    """Only `rmfab.commands` and `rmfab.cli` import click."""
    users = imports.find_modules_that_directly_import("click")
    assert {user for user in users if user.split(".")[1] not in ("cli", "commands")} == set()
