"""One thread, as in training: with networks this small, threads only wait for each other. And an empty place for
compiled code, so that what a test compiles is compiled now.
"""

import pytest
import torch

from tests.pipeline_fixtures import finished, fresh, project, shared_folder  # noqa: F401

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def place_for_compiled_code(tmp_path_factory):
    """Shared by all tests, those in other processes too, and by what they start; nothing is in it at first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_folder(tmp_path_factory) / "cache"))
        yield


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_make_scheduler(config, log):
    """For `--dist loadfile`: a file's tests stay together, for what is made once for all of them, but for the longest
    file's, which come last and one by one, so that no process waits for another at the end.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneByOneAtTheEnd(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return nodeid if file.endswith("test_pipeline.py") else file

    return OneByOneAtTheEnd(config, log)
