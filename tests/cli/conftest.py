import pytest

from .running import Desk, Shell


@pytest.fixture(scope="session")
def shell(tmp_path_factory):
    shell = Shell(tmp_path_factory.mktemp("shell"))
    yield shell
    shell.close()


@pytest.fixture
def desk(shell, tmp_path):
    """An empty folder but for tiny.toml."""
    return Desk(shell, tmp_path)


@pytest.fixture(scope="session")
def trained(shell, tmp_path_factory):
    """A run of tiny.toml that is over, with checkpoints after steps 2 and 4. To be looked at only."""
    return Desk(shell, tmp_path_factory.mktemp("trained")).train("run", "run.checkpoint_every=2")
