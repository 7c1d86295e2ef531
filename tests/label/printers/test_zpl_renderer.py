"""A ZPL renderer from npm shows our jobs as we drew them, without network."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from rmfab.label.printers.address import PrinterAddress
from rmfab.label.printers.configuration import GraphicEncoding, PrinterConfig
from rmfab.label.printers.zpl import zpl_job
from rmfab.label.raster import Raster
from tests.label.printers.bench import noise
from tests.patience import PATIENCE

pytestmark = [pytest.mark.peers, pytest.mark.skipif(shutil.which("npm") is None, reason="no node")]
_ROOT = Path(__file__).parents[3] / ".node-peers"
_PACKAGE = "zpl-renderer-js@3.4.0"
_SCRIPT = """\
import { ready } from "zpl-renderer-js";
const { api } = await ready;
let zpl = "";
for await (const piece of process.stdin) zpl += piece;
process.stdout.write(await api.zplToBase64Async(zpl, 40, 30, 8));
"""


@pytest.fixture(scope="module")
def renderer() -> Path:
    """The folder of the renderer, installed at the first run and kept."""
    if not (_ROOT / "node_modules" / "zpl-renderer-js").is_dir():
        quick = ("--loglevel=error", "--no-audit", "--no-fund", "--prefer-offline")
        command = ["npm", "install", *quick, "--prefix", str(_ROOT), _PACKAGE]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    (_ROOT / "render.mjs").write_text(_SCRIPT)
    return _ROOT


@pytest.mark.parametrize("encoding", GraphicEncoding)
@pytest.mark.parametrize(("width", "height"), [(317, 237), (320, 240), (200, 150)])
def test_rendered(renderer: Path, encoding: GraphicEncoding, width: int, height: int) -> None:
    """Both encodings are rendered to the dots that we drew; the renderer puts a narrow label in the middle."""
    label = noise(5, width, height)
    job = zpl_job(label, 1, PrinterConfig(PrinterAddress.parse("zpl+tcp://x"), encoding=encoding))
    done = subprocess.run(
        ["node", "render.mjs"], cwd=renderer, input=job, capture_output=True, check=True, timeout=PATIENCE
    )
    picture = Image.open(io.BytesIO(base64.b64decode(done.stdout)))
    left = (320 - width) // 2
    assert Raster.of_image(picture.convert("L").crop((left, 0, left + width, height))) == label
