"""Time from `ray job submit` to the first committed film, part by part.

    python -m benchmarks.job_start --jobs 3

Starts a head on this machine and submits small campaigns to it one after the other, each when the one before has ended:
the first finds a cold cluster, the others a warm one. Seconds since the submission, and below them what each step took.
"""

import argparse
import os
import shlex
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.head import Head, running_head

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
FILMS = ["campaign.films=16", "campaign.cells=[64, 64]", "simulate.backend=cpu", "simulate.block_films=2"]
SCALES = ["fit.train_scales=['0.25']", "study.test_scales=[0.25]"]
STEPS = ("submitted", "process", "imported", "connected", "actor", "commit", "done")
PATIENCE = 300.0

JOB = """
import time
print("process", time.time(), flush=True)
from magray.cli import app as cli
from magray.runtime.connect import connect
print("imported", time.time(), flush=True)
connect()
print("connected", time.time(), flush=True)
cli.main()
"""


def measure(head: Head, client: "JobSubmissionClient", number: int, folder: Path) -> dict[str, float]:
    """Seconds from the submission to the end of each step of one job."""
    results = folder / f"results-{number}"
    words = [word for change in [f"output={results}", *FILMS, *SCALES] for word in ("--set", change)]
    command = shlex.join(["python", "job.py", "simulate", CONFIG.name, *words])
    start = time.time()
    job = client.submit_job(entrypoint=command, runtime_env={"working_dir": str(folder / "work")})
    reached = {"submitted": time.time()}
    known = {actor.actor_id for actor in simulators(head)}
    while not (status := client.get_job_status(job)).is_terminal():
        if time.time() > start + PATIENCE:
            raise TimeoutError(client.get_job_logs(job))
        if "actor" not in reached and any(actor.actor_id not in known for actor in simulators(head)):
            reached["actor"] = time.time()
        time.sleep(0.1)
    log = client.get_job_logs(job)
    if status != "SUCCEEDED":
        raise RuntimeError(log)
    marks = [line.split() for line in log.splitlines() if line.split(" ")[0] in STEPS]
    reached |= {name: float(when) for name, when in marks}
    reached["commit"] = min(path.stat().st_mtime for path in results.glob("store/films-1/*"))
    reached["done"] = time.time()
    return {step: reached[step] - start for step in STEPS}


def simulators(head: Head) -> list[Any]:
    """The actors with a solver that is ready."""
    from ray.util.state import list_actors

    alive = list_actors(address=head.job_server, filters=[("state", "=", "ALIVE")], limit=1000)
    return [actor for actor in alive if "FilmSimulator" in actor.class_name]


def main() -> None:
    """Print one line a job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=3)
    jobs = parser.parse_args().jobs
    with running_head() as head, tempfile.TemporaryDirectory() as name:
        os.environ |= head.environment | {"RAY_API_SERVER_ADDRESS": head.job_server}
        from ray.job_submission import JobSubmissionClient  # Ray looks for its token mode when it is imported

        folder = Path(name)
        (folder / "work").mkdir()
        (folder / "work" / "job.py").write_text(JOB, encoding="utf-8")
        shutil.copy(CONFIG, folder / "work")
        client = JobSubmissionClient(head.job_server)
        print("seconds ", *(f"{step:>10}" for step in STEPS))
        for number in range(jobs):
            when = list(measure(head, client, number, folder).values())
            steps = [after - before for before, after in zip([0.0, *when], when, strict=False)]
            print(f"job {number + 1:<4}", *(f"{seconds:10.1f}" for seconds in when), flush=True)
            print("        ", *(f"{seconds:+10.1f}" for seconds in steps), flush=True)


if __name__ == "__main__":
    main()
