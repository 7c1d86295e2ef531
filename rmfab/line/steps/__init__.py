"""The steps of the line, one file and one function per step.

A step takes the visit (`line/visit.py`) and the stage that the previous step returned (`line/stages.py`). It returns
`Passed` with the next stage, or raises the reason why it did not pass. It imports no other step and neither worker nor
floor; `line/listening.py` and `line/binding.py` contain what several steps need. Start with `detect.py` and follow the
order of `line/step_order.py`.
"""
