"""The line: runs the steps on the boards of all slots at the same time, records them in the ledger, and yields events.

It may import the packages from `product` to `label`, but no reports, virtual boards or commands. Start with `floor.py`
(all slots) and `worker.py` (one board). `step_order.py` and `stages.py` define the order of the steps and the values
that each step receives. `steps/` has one file per step; `radio/` connects to a running unit.
"""
