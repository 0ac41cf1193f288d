"""A Slurm of two nodes on this machine: its daemons, state and keys lie in one folder and end with it."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import psutil

NODES = ("node1", "node2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "sbatch", "srun", "scontrol")
SECONDS_TO_START = 30
SECONDS_TO_APPEAR = 0.2  # until what has just been started has its environment, or writes its log
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])  # where Debian has the daemons; not on every user's path

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=2
MinJobAge=3600
ReturnToService=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=16000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=16000
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""


class CannotStart(Exception):
    """Why there is no Slurm here, in a sentence."""


class Job(NamedTuple):
    """A line of `squeue`, which has a job also after its end."""

    id: str
    state: str
    node: str
    limit: str  # of its time, as in 12:00
    name: str  # of the rule or group, with its wildcards
    start: str  # to the second


class Slurm:
    """The commands of a Slurm that runs, and its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = str(folder / "slurm.conf")
        path = os.pathsep.join([str(folder / "bin"), PATH])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        self.environment = inherited | {"SLURM_CONF": self.configuration, "PATH": path}

    def command(self, *words: str) -> str:
        """What one of Slurm's commands says.

        Raises CalledProcessError where it fails.
        """
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout

    def jobs(self, *states: str) -> list[Job]:
        """The jobs in these states, or in any."""
        lines = self.command("squeue", "--noheader", "--states=all", "--format=%i|%T|%N|%l|%k|%S").splitlines()
        jobs = [Job(*line.split("|")) for line in lines]
        return [job for job in jobs if not states or job.state in states]

    def wait_for(self, what, seconds: float):
        """What a function returns once that is true."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {what.__name__}; {self.jobs()}"
            time.sleep(0.5)
        return found

    def start(self) -> None:
        """Start munge, the controller and two nodes.

        Raises CannotStart where they are not installed or do not come up.
        """
        missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
        if missing:
            raise CannotStart(f"Debian's slurm-wlm and munge are not installed: there is no {missing[0]}")
        if os.geteuid() != 0:
            raise CannotStart("only root can start Slurm's daemons")
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in sockets]
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(host=host, ports=ports, folder=self.folder)
        Path(self.configuration).write_text(text)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        # The plugin takes SLURM_CONF, with every SLURM_*, out of the environment in which a job calls srun.
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir()
        srun.write_text(f'#!/bin/sh\nSLURM_CONF="{self.configuration}" exec "{shutil.which("srun", path=PATH)}" "$@"\n')
        srun.chmod(0o755)
        files = [f"--{name}={self.folder}/munge.{name.partition('-')[0]}" for name in MUNGE_FILES]
        self._daemon("munged", "--foreground", "--force", *files)
        self._came_up(lambda: (self.folder / "munge.socket").exists())
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        self._came_up(lambda: self._node_states().count("idle") == len(NODES))

    def _daemon(self, *words: str) -> None:
        with (self.folder / "daemons.log").open("a") as log:
            subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _node_states(self) -> list[str]:
        try:
            return self.command("sinfo", "--noheader", "--Node", "--format=%t").split()
        except subprocess.CalledProcessError:  # the controller does not answer yet
            return []

    def _came_up(self, is_up) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while not is_up():
            if time.monotonic() > deadline:
                said = (self.folder / "daemons.log").read_text().strip().splitlines()
                raise CannotStart(f"Slurm does not come up here: {said[-1] if said else 'no message'}")
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """Its daemons and what they have started: whoever was given its configuration or writes into its logs."""
        own = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                given = process.environ().get("SLURM_CONF") == self.configuration
                if given or any(Path(file.path).parent == self.folder for file in process.open_files()):
                    own.append(process)
        return own

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._daemon("slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """As if it lost its power: its daemon and everything that runs on it is gone at once.

        All of it stands still before the first is killed. A daemon that still ran would report what has become of its
        job, and a process that was just being started would be missed.
        """
        still: set[psutil.Process] = set()
        while new := self._on(node) - still:
            for process in new:
                with contextlib.suppress(psutil.Error):
                    process.suspend()
            still |= new
            time.sleep(SECONDS_TO_APPEAR)
        kill(still)

    def _on(self, node: str) -> set[psutil.Process]:
        """A node's daemons, which write its log, and what they have started."""
        log = str(self.folder / f"slurmd-{node}.log")
        found = set()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                writes = any(file.path == log for file in process.open_files())
                if writes or process.environ().get("SLURMD_NODENAME") == node:
                    found.add(process)
        return found

    def stop(self) -> None:
        """Everything of it is gone; again and again, because something may be starting meanwhile."""
        for _ in range(10):
            if own := self.processes():
                kill(own)


MUNGE_FILES = ("socket", "key-file", "pid-file", "seed-file", "log-file")


def kill(processes) -> None:
    """End processes at once, and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


@contextlib.contextmanager
def two_nodes(folder: Path):
    """A Slurm that ends with the block, whatever happens in it.

    Raises CannotStart.
    """
    slurm = Slurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
