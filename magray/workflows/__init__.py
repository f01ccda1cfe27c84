"""Ready-made projects: the quickstart, the paper, the comparison of protocols."""
