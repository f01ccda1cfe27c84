"""A Ray job that fits an estimator for each of a project's training sets.

ray job submit --submission-id fit-quickstart --working-dir . -- \
    python -m jobs.fit configs/quickstart.yaml --set output=/results/quickstart
"""

from jobs.stage import run

if __name__ == "__main__":
    run("fit")
