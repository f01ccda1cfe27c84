"""Try damaged inputs on every reader of magray, and keep those that break a promise of `contract`.

    python -m tests.fuzz --inputs 20000 --seed 1
    python -m tests.fuzz --again runs/fuzz/<hash>

Inputs are configs, --set, plans, stores, estimators, pictures and tables of results, damaged in ways that the seed
decides. Commands run as far as they read: none starts Ray. Each kind of failure leaves its smallest case in
runs/fuzz. Ends with exit code 1 if there are any.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.cases import Case
from tests.fuzz.contract import broken, estimate
from tests.fuzz.specimen import PICTURE, picture_files
from tests.fuzz.workers import Finding, Results, attack, prepare

CASE = "case.json"


def save(finding: Finding, folder: Path) -> Path:
    """Write a finding's files and its command to a folder of its own."""
    case = finding.case
    own = folder / hashlib.sha256(f"{case.kind} {finding.promise}".encode()).hexdigest()[:12]
    for name, content in case.files.items():
        path = own / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    about = {
        "kind": case.kind,
        "arguments": case.arguments,
        "same_answer": case.same_answer,
        "promise": finding.promise,
    }
    (own / CASE).write_text(json.dumps(about, indent=2))
    return own


def load(folder: Path) -> Case:
    """Return the case that `save` wrote."""
    about, files = json.loads((folder / CASE).read_text()), folder / "files"
    contents = {str(path.relative_to(files)): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    return Case(about["kind"], contents, tuple(about["arguments"]), about["same_answer"])


def print_summary(results: Results, folder: Path) -> None:
    """Print the number of inputs and the findings."""
    found = Counter(kind for kind, _ in results.findings)
    for kind, tried in results.tried.items():
        print(f"{kind:10} {tried:6} inputs, {found[kind]:3} findings")
    print(f"{sum(results.tried.values())} inputs in {results.seconds:.0f} s, {len(results.findings)} findings")
    for (kind, promise), finding in sorted(results.findings.items()):
        print(f"{kind}: {promise!r:.300}\n    python -m tests.fuzz --again {save(finding, folder)}")


def main() -> None:
    """Run the fuzzer, or repeat one case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=1800, help="at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("runs/fuzz"), help="where findings are kept")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="run one finding again")
    options = parser.parse_args()
    if options.again:
        with tempfile.TemporaryDirectory() as box:
            promises = broken(load(options.again), Path(box, "box"), new_process=True)
            prepare()
            promises += broken(
                load(options.again), Path(box, "box"), reference=estimate(Path(box), picture_files()[PICTURE])
            )
        print("\n".join(sorted(set(promises))) or "it holds")
        sys.exit(bool(promises))
    results = attack(options.inputs, options.seconds, options.seed, options.workers)
    print_summary(results, options.folder)
    sys.exit(bool(results.findings))


if __name__ == "__main__":
    main()
