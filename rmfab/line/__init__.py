"""The line: runs the steps on the boards of all slots in parallel, records them in the ledger, and yields events.

It may import the rooms from `product` to `label`, but no report, virtual board or command. Start
with `floor.py` (all slots) and `worker.py` (one board). `step_order.py` defines which step follows which, `stages.py`
what is known in between. `steps/` has one file per step, `radio/` reaches a running unit.
"""
