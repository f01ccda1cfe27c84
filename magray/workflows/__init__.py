"""Chain stages and projects: the quickstart, the paper, the comparison of protocols."""
