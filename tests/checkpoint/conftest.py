import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_sync():
    """Nothing here need outlive a power cut, and a busy disk takes its time to sync."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
