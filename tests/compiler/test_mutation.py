"""A term that is dropped from a budget is noticed, every time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "experiments").is_dir(), reason="needs a checkout")


@pytest.mark.slow
def test_every_term_of_every_budget_dropped() -> None:
    """All by the compiler: nothing is run, so it does not depend on numbers such as an interest of 0.

    The other models of this family have the same budgets.
    """
    models = ["closed_rbc", "open_rbc", str(ROOT / "tests" / "specs" / "ledger.yaml")]
    command = [sys.executable, str(ROOT / "experiments" / "mutation.py"), "--budgets", *models]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    totals = re.findall(r"^\S+: (\d+) terms dropped: (.*)$", result.stdout, re.MULTILINE)
    assert [int(number) for number, _ in totals] == [34, 34, 14]
    assert all(re.fullmatch(r"(RB90[12] \d+(, )?)+", found) for _, found in totals)
