"""Many processes on one ledger: stations on a server whose connections end, and commands on a file; some are killed."""

import pytest

from tests.crash.crowd import Crowd, terminating

pytestmark = pytest.mark.slow

CLAIMS = 20


@pytest.mark.peers
@pytest.mark.parametrize("kills", [False, True], ids=["terminated", "killed"])
def test_stations_whose_connections_end(server, databases, tmp_path, kills):
    """On a server, each board gets one identity, no identity is given twice, every claim that was returned is in the
    ledger, and no claim is recorded twice; a station that is killed goes on with the same command."""
    address = databases()
    crowd = Crowd(address, tmp_path, 8, CLAIMS)
    crowd.make()
    with terminating(server, address.partition("?")[0].rpartition("/")[2]) as ended:
        crowd.claim(kills=kills)
    assert ended
    crowd.judge(kills=kills)


def test_sixteen_processes_on_a_file(tmp_path):
    """The same of a file, on which half of 16 processes are killed; none of the others reports a lock."""
    crowd = Crowd(tmp_path / "ledger.db", tmp_path, 16, CLAIMS)
    crowd.make()
    crowd.claim(kills=True)
    crowd.judge(kills=True)
