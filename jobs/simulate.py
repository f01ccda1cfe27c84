"""A Ray job that simulates the films that a campaign's store lacks.

ray job submit --submission-id simulate-quickstart --working-dir . -- \
    python -m jobs.simulate configs/quickstart.yaml --set output=/results/quickstart
"""

from jobs.stage import run

if __name__ == "__main__":
    run("simulate")
