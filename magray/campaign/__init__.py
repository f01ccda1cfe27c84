"""Ray: simulating a campaign's films in actors that hold a warm solver, and committing them. Knows no physics."""

from magray.campaign.cluster import connect
from magray.campaign.run import CampaignSummary, run_campaign

__all__ = ["CampaignSummary", "connect", "run_campaign"]
