"""The design of labels: the style that is asked for, that of product.toml, or the automatic layout of a size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError, RmfabError, UsageError
from rmfab.files import shipped_files, write_file
from rmfab.label.design import LabelDesign
from rmfab.label.flow import judge_geometry
from rmfab.label.style import LabelStyle, parse_label_size
from rmfab.label.style_auto import AUTOMATIC, AutomaticStyle
from rmfab.label.style_file import FOLDER, load_style, read_style, style_files
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class ListedStyle:
    """A style that can be chosen. *own*: it is in the workspace, not shipped. *chosen*: product.toml names it."""

    style: LabelStyle
    own: bool
    chosen: bool


def chosen_style(workspace: Workspace, name: str | None, size: str | None = None) -> LabelStyle | None:
    """Return the style *name*, else that of product.toml, on a label of *size*; None for the automatic layout.

    Raise InputError if there is none, ComplaintsError if its file is wrong or it does not fit *size*.
    """
    wanted = (workspace.product.label.style or AUTOMATIC) if name is None else name
    if wanted == AUTOMATIC:
        return None
    try:
        style = load_style(workspace.root, wanted)
    except ComplaintsError:
        raise
    except InputError as error:
        place = "product.toml: [label] style" if name is None else "--style"
        raise InputError(error.what, where=error.where or place, hint=error.hint, cause=error.cause) from None
    style = replace(style, product_font=workspace.product.label.font)
    return style if size is None else _resized(style, size)


def _resized(style: LabelStyle, size: str) -> LabelStyle:
    resized = style.resized(*_sides(size))
    complaints = [
        InputError(what, where=f"style {style} on {size}: {place}", hint=hint)
        for place, what, hint in judge_geometry(resized)
    ]
    if complaints:
        raise ComplaintsError(complaints)
    return resized


def _sides(size: str) -> tuple[float, float]:
    try:
        return parse_label_size(size)
    except InputError as error:
        raise UsageError(f"--size: {error.what}", hint=error.hint) from None


def label_design(
    workspace: Workspace, name: str | None, size: str | None, media: tuple[float, float | None]
) -> LabelDesign:
    """Return the style as `chosen_style` does, or the automatic layout for *size*, else for *media* (width, height)."""
    style = chosen_style(workspace, name, size)
    if style is not None:
        return style
    sides = _sides(size) if size else media
    return AutomaticStyle.for_media(*sides, product_font=workspace.product.label.font)


def list_styles(workspace: Workspace, terminal: Terminal = UNATTENDED) -> tuple[ListedStyle, ...]:
    """Return the styles of the workspace and those that come with rmfab; warn of those that cannot be used."""
    chosen, own = workspace.product.label.style, workspace.root / FOLDER
    listed = []
    for name, path in style_files(workspace.root).items():
        try:
            listed.append(ListedStyle(load_style(workspace.root, name), path.parent == own, name == chosen))
        except RmfabError as error:
            for each in error.complaints:
                terminal.warn(str(each), each.hint)
    return tuple(listed)


def copy_style(workspace: Workspace, name: str, *, force: bool = False) -> Path:
    """Copy a style that comes with rmfab into the workspace, where it can be changed; return the new file.

    Raise InputError if there is none, or the workspace has a different one of this name.
    """
    shipped = {path.stem: path for path in shipped_files(str(FOLDER), ".toml")}
    if name not in shipped:
        raise InputError(
            f'no style "{name}" comes with rmfab', hint=f"those are {', '.join(shipped)}", cause="unknown-style"
        )
    read_style(shipped[name])
    target = workspace.root / FOLDER / f"{name}.toml"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_file(target, shipped[name].read_bytes(), force=force)
    return target
