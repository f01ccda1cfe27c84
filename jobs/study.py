"""Test a project's estimators at every test scale and write the report, as a Ray job.

ray job submit --submission-id study-quickstart --working-dir . -- \
    python -m jobs.study configs/quickstart.yaml --set output=/results/quickstart
"""

from jobs.stage import run

if __name__ == "__main__":
    run("study", "report")
