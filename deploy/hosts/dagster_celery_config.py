"""How a worker takes runs. dagster-celery reads this module wherever it is on the Python path.

A worker takes a run when it has a process for it, and not before. Each run gets its own process.
The queue is a table in PostgreSQL, which cannot broadcast. A run therefore checks by itself whether
it was cancelled (`aidsafe_dagster/runs/liveness.py`).
"""

task_acks_late = True
worker_prefetch_multiplier = 1
worker_max_tasks_per_child = 1
worker_enable_remote_control = False
worker_hijack_root_logger = False
broker_connection_retry_on_startup = True
