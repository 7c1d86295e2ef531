"""What esp-rainmaker-cli keeps of a claimed board, written by its own code, is imported."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from rmfab.ledger.states import State
from rmfab.workspace.workspace import open_workspace
from tests.exchange.admin_cli import Ca, draw_node
from tests.peers.environment import call_cli
from tests.terminal import Terminal

pytestmark = pytest.mark.peers
CREDENTIALS = "credentials.example.org"


def test_a_claimed_board_is_imported(
    peers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a claimed board, with the image that the package made, becomes an identity in quarantine."""
    terminal = Terminal(tmp_path, capsys, monkeypatch)
    folder = tmp_path / "claim_data" / "user" / "AABBCCDDEEFF"
    folder.mkdir(parents=True)
    node = draw_node(Ca(), "claimedNode1")
    call_cli(
        peers,
        tmp_path,
        "claimed",
        folder=f"{folder}/",
        image="AABBCCDDEEFF.bin",
        node_id=node.node_id,
        key=node.key.decode(),
        certificate=node.certificate.decode(),
        host=node.host,
        cred_host=CREDENTIALS,
        random=node.random,
    )
    terminal.well("init", "lamp", "--mqtt-host", node.host)
    command = ("-C", "lamp", "import", "claim_data", "--batch", "claimed", "--flashed")
    terminal(*command).refused(3, f'mqtt_cred_host is "{CREDENTIALS}"')
    product = Path("lamp/product.toml")
    product.write_text(product.read_text().replace('mqtt_cred_host = ""', f'mqtt_cred_host = "{CREDENTIALS}"'))
    terminal.well(*command)
    with closing(open_workspace(Path("lamp")).ledger) as ledger:
        (one,) = ledger.identities("claimed")
    assert (one.node_id, one.state) == (node.node_id, State.QUARANTINED)
