"""Many stations on a server whose connections end; some are killed."""

import pytest

from tests.crash.crowd import Crowd, terminating

pytestmark = pytest.mark.slow

CLAIMS = 12


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
