"""Everything about Ray that is not about films: connecting, devices, nodes, jobs, progress and events."""

import os

# Ray tells the terminal of every process that dies, and of a node in fifty lines; the campaign's events are shorter.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")  # heeded when ray is imported
