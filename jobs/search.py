"""Search for the training scales that are enough, as a Ray job over the films of a project's store.

ray job submit --submission-id search-dmi --working-dir . -- python -m jobs.search configs/searches/dmi.yaml
"""

from jobs.stage import run

if __name__ == "__main__":
    run("search")
