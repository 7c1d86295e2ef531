"""The preview of a label: the dots that a printer prints, of a unit or of a sample. The ledger records nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from rmfab.errors import UsageError
from rmfab.files import write_file
from rmfab.label.content import Label
from rmfab.label.picture import png
from rmfab.label.print_raster import LabelDesign, LabelRaster, dot_of, label_raster
from rmfab.label.sample_label import sample_label
from rmfab.label.sheets import sheet
from rmfab.label.style import LabelStyle, Shape
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.label_design import label_design
from rmfab.operations.print_labels import labels_of
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.workspace import Workspace

_LINER = 190
"""The grey around a round label."""


@dataclass(frozen=True)
class PreviewRequest:
    """A preview as the PNG file *output*: of the unit *serial*, None for a sample. The rest as in LabelRequest."""

    output: Path
    serial: str | None = None
    style: str | None = None
    size: str | None = None
    dpi: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.output.suffix.lower() != ".png":
            raise UsageError("--preview writes a PNG: name a .png file")


@dataclass(frozen=True)
class LabelPreview:
    """A preview: the design, the resolution, and the label as it is printed."""

    design: LabelDesign
    dpi: int
    made: LabelRaster

    @property
    def module(self) -> float | None:
        """The side of a module of the QR code in mm, None without a code."""
        code = self.made.drawing.code
        return code.module if code is not None else None

    @property
    def module_dots(self) -> int | None:
        """The dots per module of the QR code, None without a code."""
        return round(self.module / dot_of(self.dpi)) if self.module is not None else None


def preview_label(workspace: Workspace, request: PreviewRequest, terminal: Terminal = UNATTENDED) -> LabelPreview:
    """Write the preview. Raise as `label_raster`, and InputError as `print_labels` for a unit without a label."""
    product = workspace.product
    design = label_design(workspace, request.style, request.size, sheet(product.label.sheet).label)
    label = _label(workspace, request.serial, design, terminal)
    dpi = request.dpi or product.label.dpi
    made = label_raster(label, design, dpi)
    secret = request.serial is not None and design.shows_pop
    write_file(request.output, png(_on_liner(made.raster.image(), design), dpi), secret=secret, force=request.force)
    for warning in made.warnings:
        terminal.warn(warning.what, warning.hint)
    preview = LabelPreview(design, dpi, made)
    terminal.say(_measured(preview))
    if secret:
        warn_of_git(terminal, "the PoP", request.output)
    return preview


def _label(workspace: Workspace, serial: str | None, design: LabelDesign, terminal: Terminal) -> Label:
    if serial is None:
        return sample_label(workspace.product)
    labels = labels_of(workspace, (serial,), design, terminal)
    if len(labels) > 1:
        raise UsageError(f"{serial} is a batch: --preview shows one label", hint="name a serial, or none for a sample")
    return labels[0]


def _on_liner(image: Image.Image, design: LabelDesign) -> Image.Image:
    """Return the bitmap of a round label with grey around the label."""
    if not isinstance(design, LabelStyle) or design.shape is not Shape.ROUND:
        return image
    label = Image.new("1", image.size, 0)
    ImageDraw.Draw(label).ellipse((0, 0, image.width - 1, image.height - 1), fill=1)
    return Image.composite(image, Image.new("L", image.size, _LINER), label)


def _measured(preview: LabelPreview) -> str:
    raster, design = preview.made.raster, preview.design
    size = (
        f"{design}: {design.width:g} x {design.height:g} mm, {raster.width} x {raster.height} dots at {preview.dpi} dpi"
    )
    code = preview.made.drawing.code
    if code is None:
        return f"{size}; no QR code"
    module = f"{counted(preview.module_dots or 0, 'dot')} ({code.module:.2f} mm)"
    return f"{size}; QR version {code.symbol.version}-{code.symbol.level.name}, {module} a module"
