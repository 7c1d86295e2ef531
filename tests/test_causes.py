"""Causes: the code, the table and docs/causes.md agree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rmfab
from rmfab.causes import Blame, Cause, as_markdown

ROOT = Path(rmfab.__file__).parent
DOCUMENT = ROOT.parent / "docs" / "causes.md"


class Module:
    """A source file, and the places where it uses causes."""

    def __init__(self, path: Path, tree: ast.Module, elsewhere: dict[str, int]) -> None:
        self.path = path
        self.tree = tree
        self.positions = elsewhere | cause_positions(tree)
        self.constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }

    def causes(self) -> Iterator[tuple[str, int]]:
        """Yield each cause that the file uses, and the line."""
        for node in ast.walk(self.tree):
            for value in self.values(node):
                yield from self.texts(value)

    def values(self, node: ast.AST) -> Iterator[ast.expr]:
        """Yield the expressions in *node* that are used as a cause."""
        if isinstance(node, ast.Call):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "cause")
            position = self.positions.get(name_of(node.func))
            if position is not None and position < len(node.args):
                yield node.args[position]
        elif isinstance(node, ast.Assign):
            yield from (value for target in node.targets for value in matching(target, node.value))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from matching(node.target, node.value)
        elif isinstance(node, ast.For | ast.comprehension):
            rows = self.resolved(node.iter)
            if isinstance(rows, ast.Tuple | ast.List):
                yield from (value for row in rows.elts for value in matching(node.target, row))
        elif isinstance(node, ast.Compare) and name_of(node.left) == "cause":
            yield from node.comparators
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Cause":
            yield node

    def texts(self, value: ast.expr) -> Iterator[tuple[str, int]]:
        """Yield the possible strings of *value*, and their lines."""
        value = self.resolved(value)
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value, value.lineno
        elif isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id == "Cause":
            yield getattr(Cause, value.attr, value.attr), value.lineno
        elif isinstance(value, ast.IfExp):
            yield from self.texts(value.body)
            yield from self.texts(value.orelse)
        elif isinstance(value, ast.Tuple | ast.List | ast.Set):
            for one in value.elts:
                yield from self.texts(one)
        elif isinstance(value, ast.Call) and name_of(value.func) == "frozenset":
            for one in value.args:
                yield from self.texts(one)

    def resolved(self, value: ast.expr) -> ast.expr:
        """Return the value of the module constant that *value* names, else *value*."""
        return self.constants.get(value.id, value) if isinstance(value, ast.Name) else value


def name_of(node: ast.expr) -> str:
    """Return the last part of a dotted name."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def matching(target: ast.expr, value: ast.expr) -> Iterator[ast.expr]:
    """Yield what an assignment of *value* to *target* assigns to the name `cause`."""
    if isinstance(value, ast.IfExp) and isinstance(target, ast.Tuple):
        yield from matching(target, value.body)
        yield from matching(target, value.orelse)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, part in zip(target.elts, value.elts, strict=False):
            yield from matching(one, part)
    elif name_of(target) == "cause":
        yield value


def cause_positions(tree: ast.Module) -> dict[str, int]:
    """Return the functions and dataclasses of a file that have a parameter `cause`, and its position."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [one.arg for one in (*node.args.posonlyargs, *node.args.args) if one.arg not in ("self", "cls")]
        elif isinstance(node, ast.ClassDef):
            names = [one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and name_of(one.target)]
            if not any(name_of(getattr(one, "func", one)) == "dataclass" for one in node.decorator_list):
                continue
        else:
            continue
        if "cause" in names:
            found[node.name] = names.index("cause")
    return found


@pytest.fixture(scope="module")
def named() -> dict[str, list[str]]:
    """Every cause that the package uses, and where."""
    trees = {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py")) if "_pb2" not in path.name}
    elsewhere: dict[str, int] = {}
    for tree in trees.values():
        elsewhere |= {name: at for name, at in cause_positions(tree).items() if not name.startswith("_")}
    found: dict[str, list[str]] = {}
    for path, tree in trees.items():
        if path == ROOT / "causes.py":
            continue
        for cause, line in Module(path, tree, elsewhere).causes():
            found.setdefault(cause, []).append(f"{path.relative_to(ROOT)}:{line}")
    return found


def test_every_cause_in_the_code_stands_in_the_table(named: dict[str, list[str]]) -> None:
    """Every cause in the code is one of `Cause`, and no two members have the same value."""
    unknown = {cause: places for cause, places in named.items() if cause not in set(Cause)}
    assert not unknown
    assert len(Cause) == len(Cause.__members__)


def test_every_cause_in_the_table_is_used(named: dict[str, list[str]]) -> None:
    """The code uses every cause of the table."""
    assert {cause.value for cause in Cause} - named.keys() == set()


@pytest.mark.parametrize("cause", Cause, ids=str)
def test_what_is_said_of_a_cause(cause: Cause) -> None:
    """A member's name matches its value; meaning and remedy have one sentence each, and there is a blame."""
    assert cause.name == cause.value.upper().replace("-", "_")
    for sentence in (cause.meaning, cause.remedy):
        assert sentence.endswith(".")
        assert ". " not in sentence
        assert "|" not in sentence
    assert cause.blame in Blame


def test_the_document_is_the_table() -> None:
    """docs/causes.md is the output of `as_markdown`."""
    assert DOCUMENT.read_text() == as_markdown(), "run `./dev docs-causes` to write docs/causes.md again"
