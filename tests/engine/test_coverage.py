"""How much of the decision the tests of the decision take."""

import json
import subprocess
import sys
from pathlib import Path

CODE = Path(__file__).parents[2]


def test_every_branch_of_decide_is_taken_by_its_table(tmp_path, capsys):
    kept = ["--data-file", str(tmp_path / "coverage")]
    table = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/engine/test_decide.py"]
    watched = ["--branch", "--include=deployments/engine/decide.py"]
    run = [sys.executable, "-m", "coverage", "run", *kept, *watched, *table]
    done = subprocess.run(run, cwd=CODE, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    report = tmp_path / "coverage.json"
    subprocess.run(
        [sys.executable, "-m", "coverage", "json", *kept, "-q", "-o", str(report)], cwd=CODE, timeout=60, check=True
    )
    totals = json.loads(report.read_text())["totals"]
    with capsys.disabled():
        print(f"\nbranches of decide taken: {totals['covered_branches']} of {totals['num_branches']}")
    assert totals["percent_covered"] == 100
