"""The line: runs the steps on the board of every slot at once, records them in the ledger, and yields events.

It imports the rooms of values and of the world (`product` to `label`), and no report, virtual board or command. Start
with `floor.py` (all slots) and `worker.py` (one board); `step_order.py` and `stages.py` say which step follows which
and what is known by then. `steps/` has one file per step, `radio/` reaches a unit that runs.
"""
