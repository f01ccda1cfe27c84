"""Fit an estimator for each training set of a project, as a Ray job.

ray job submit --submission-id fit-quickstart --working-dir . -- \
    python -m jobs.fit configs/quickstart.yaml --set output=/results/quickstart
"""

from jobs.stage import run

if __name__ == "__main__":
    run("fit")
