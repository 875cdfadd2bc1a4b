"""Processes of one machine: as many as it has GPUs, through torch's elastic launcher; or one, in a debugger."""

from __future__ import annotations

import pdb
import sys
import uuid
from collections.abc import Callable, Sequence

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sgear.errors import ConfigError, RunError, SgearError
from sgear.stopping import Stopped

_SHUTDOWN_S = 25
"""Seconds that the other processes get to end when one is gone, before they are killed."""


def launch_local(overrides: Sequence[str], *, num_processes: int = 0, say: Callable[[str], None]) -> None:
    """Train in several processes of this machine.

    One that dies ends all of them; what it printed stands above the error.

    Args:
        overrides: Settings of `sgear train`.
        num_processes: Number of processes. Default: one per GPU, or one.
        say: Receives what is started.

    Raises:
        ConfigError: If there are fewer GPUs than processes, where there are any.
        RunError: If a process ended with an error; says which.
        Stopped: If this process was asked to end. The others have written a checkpoint then.
    """
    num_gpus = torch.cuda.device_count()
    count = num_processes or max(1, num_gpus)
    if count < 0 or (num_gpus and count > num_gpus):
        raise ConfigError(f"--nproc {num_processes}: this machine has {num_gpus} GPUs; give at most as many")
    say(f"{count} processes on {f'{num_gpus} GPUs' if num_gpus else 'this processor'}")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        # Loopback, and any free port.
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        # A second start would meet the state of the first; `runtime.resume=auto` goes on where somebody wants that.
        max_restarts=0,
        shutdown_timeout=_SHUTDOWN_S,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "sgear.cli.main", "train", *overrides)
    except ChildFailedError as err:
        rank, failure = err.get_first_failure()
        how = f"signal {-failure.exitcode}" if failure.exitcode < 0 else f"exit code {failure.exitcode}"
        raise RunError(
            f"process {rank} of {count} ended with {how}, so all were ended; its own words stand above. Go on from the "
            "last checkpoint with runtime.resume=auto"
        ) from err
    except SignalException as err:
        raise Stopped(err.sigval) from err


def launch_debug(
    overrides: Sequence[str], train: Callable[[list[str]], None], *, post_mortem: bool, anomaly: bool
) -> None:
    """Train in this very process, without workers, so that breakpoints work in models, losses and data alike.

    Args:
        overrides: Settings of `sgear train`.
        train: What `sgear train` does with them.
        post_mortem: Open the debugger where an exception was raised.
        anomaly: Let autograd name the operation that made a NaN; slow.

    Raises:
        Exception: What was raised in the training.
    """
    with torch.autograd.set_detect_anomaly(anomaly):
        try:
            train([*overrides, "runtime.num_workers=0"])
        except SgearError:
            # A message for a user, not a fault of the code: unless asked for, its place is of no use.
            if post_mortem:
                pdb.post_mortem()
            raise
        except Exception:
            if post_mortem:
                pdb.post_mortem()
            raise
