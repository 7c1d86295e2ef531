"""Network shares are distinguished from local disks."""

from pathlib import Path

import pytest

from rmfab.ledger.sql import network_share
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import cause_of

_MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:35 / /srv/share rw,relatime shared:20 master:2 - nfs4 server:/x rw
41 22 0:36 / /srv/my\\040disk rw - cifs //server/x rw
42 40 8:1 / /srv/share/local rw - xfs /dev/sda1 rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/home/me/l", "ext4", False),
        ("/srv/share/l", "nfs4", True),
        ("/srv/shared/l", "ext4", False),
        ("/srv/my disk/a/l", "cifs", True),
        ("/srv/share/local/l", "xfs", False),
    ],
)
def test_network_shares_are_told(path, kind, network):
    """The file system is that of the longest mount point, and network file systems are recognized."""
    mount = network_share.mount_of(Path(path), _MOUNTS)
    assert (mount and mount.kind) == kind
    assert network_share.is_network(kind) == network


def test_a_network_share_is_refused(tmp_path, monkeypatch):
    """A ledger on a network share is refused, and its file is not created."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"40 22 0:35 / {str(tmp_path.resolve()).replace(' ', chr(92) + '040')} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(network_share, "_MOUNTS", mounts)
    assert cause_of(Ledger.open, tmp_path / "l", create=True) == "ledger-network"
    assert not (tmp_path / "l").exists()
