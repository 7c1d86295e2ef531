"""Workers: chunks of work done in this process or in several, behind the interface of `concurrent.futures`.

Start with `crew.py`: it chooses the executor and keeps one worker per process. `feeding.py` has the policy (order,
back-pressure, errors) for any executor; `inline.py` and `processes.py` are the executors; `worker_process.py` runs in
each worker process. Imports only errors and signals.
"""
