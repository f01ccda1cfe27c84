"""Simulate the films that a campaign's store lacks, as a Ray job.

ray job submit --submission-id simulate-quickstart --working-dir . -- \
    python -m jobs.simulate configs/quickstart.yaml --set output=/results/quickstart
"""

from jobs.stage import run

if __name__ == "__main__":
    run("simulate")
