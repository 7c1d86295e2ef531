"""The steps of the line, one file and one function per step.

A step takes the visit (`line/visit.py`) and the stage that the step before it handed on (`line/stages.py`); it returns
`Passed` with the next stage, or raises why it did not pass. It imports no other step and neither worker nor floor: what
several steps need is in `line/listening.py` and `line/binding.py`. Start with `detect.py` and follow the order of
`line/step_order.py`.
"""
