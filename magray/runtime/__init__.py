"""Ray, without films: connecting, devices, nodes, jobs, errors, progress and events."""

import os

# Ray reports every process that dies on the terminal, and a node in fifty lines; the campaign's events are shorter.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")  # heeded when ray is imported
