"""For all tests: none is judged by the wall clock, so hypothesis has no deadline and does not mind a slow machine."""

import effort
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much to try; see effort.py."""
    parser.addoption("--exhaustive", action="store_true", help="long sweeps try all their cases, not a sample of them")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is read, as decorators ask for the numbers of cases."""
    effort.EXHAUSTIVE = config.getoption("exhaustive")
