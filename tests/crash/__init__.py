"""The crash harness: real commands that are killed, run out of disk or lose their server, at any moment.

`scenarios.py` is the table of what is killed, `world.py` a small factory on virtual boards with its ledger in a file,
`server_world.py` one with its ledger on a server, `invariants.py` what must hold after each kill, `faults.py` the
moments, `harness.py` the loop. `crowd.py` is many processes that claim at once. `./dev bench --crash` runs all of it
with hundreds of kills, `test_crash.py` with thirty and `test_server_crash.py` with a few faults of a server.
"""
