"""Workers: the same chunks of work done in this process or in several, behind the interface of `concurrent.futures`.

`crew.py` is the start: it chooses the executor and keeps what each worker holds. `feeding.py` has the policy (order,
back-pressure, errors) and knows no executor; `inline.py` and `processes.py` are executors and know no policy;
`worker_process.py` is all that a worker's process needs. Imports only errors and signals.
"""
