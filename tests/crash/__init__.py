"""The crash harness: real commands that are killed, or run out of disk, at any moment.

`scenarios.py` is the table of what is killed, `world.py` a small factory on virtual boards, `invariants.py` what must
hold after each kill, `faults.py` the moments, `harness.py` the loop. `./dev bench --crash` runs it with hundreds of
kills, and `test_crash.py` with thirty.
"""
