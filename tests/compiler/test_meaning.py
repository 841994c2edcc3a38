"""What the generated module computes is what the IR means, by an interpreter that shares nothing with the compiler."""

import pytest
from transitions import compare

from rbcc.compiler.source import shipped_models
from rbcc.runtime.model import compile


MODELS = sorted(path.stem for path in shipped_models().glob("*.yaml"))


@pytest.mark.parametrize("name", MODELS)
def test_shipped_models(name: str) -> None:
    """1000 random transitions: states, rewards, values, indicators, penalties, accounts and observations."""
    compare(compile(name), 1000)
