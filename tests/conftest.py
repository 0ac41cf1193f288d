"""One thread, as in training: with networks this small, threads only wait for each other. And an empty place for
compiled code, so that what a test compiles is compiled now.
"""

import pytest
import torch

from tests.pipeline_fixtures import finished, fresh, project  # noqa: F401

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def place_for_compiled_code(tmp_path_factory):
    """Shared by all tests and by the processes that they start; nothing is in it at first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
