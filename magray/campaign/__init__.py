"""Ray: simulating a campaign's films in actors that hold a warm solver, and committing them. Knows no physics.

Names are imported when they are first used: the actors need none of what only the driver does.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magray.campaign.cluster import connect
    from magray.campaign.run import CampaignSummary, run_campaign

# Ray tells the terminal of every process that dies, and of a node in fifty lines; the campaign's news are shorter.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")  # heeded when ray is imported

__all__ = ["CampaignSummary", "connect", "run_campaign"]

_HOMES = {"CampaignSummary": "run", "connect": "cluster", "run_campaign": "run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
