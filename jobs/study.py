"""A Ray job that tests a project's estimators at every test scale, and draws the report.

ray job submit --submission-id study-quickstart --working-dir . -- \
    python -m jobs.study configs/quickstart.yaml --set output=/results/quickstart
"""

from jobs.stage import run

if __name__ == "__main__":
    run("study", "report")
