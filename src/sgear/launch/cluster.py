"""What a cluster is asked for: one dataclass, one YAML file per cluster, `cluster.KEY=VALUE` on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sgear.errors import ConfigError
from sgear.files import require_regular_file

PREFIX = "cluster."


@dataclass(kw_only=True)
class ClusterConfig:
    """A job of SLURM.

    Args:
        nodes: Machines.
        tasks_per_node: Processes on each: as many as GPUs of it that are used.
        gpus_per_node: GPUs of each; 0 asks for none.
        cpus_per_task: Processor cores of each process; loaders take `runtime.num_workers` of them.
        mem_gb: Memory of each machine in gigabytes; 0 leaves it to the cluster.
        timeout_min: Minutes until the job is stopped. It then writes a checkpoint, is queued again and goes on.
        partition: Partition; empty takes the cluster's default, and so for the next four.
        account: Account to charge.
        qos: Quality of service.
        constraint: Features that machines must have.
        comment: A comment, which some clusters ask for.
        setup: Lines of the job script before the training, e.g. `module load cuda`.
        signal_delay_s: Seconds between the warning and the end of a job, for the checkpoint.
        max_requeues: How often a job that ran out of time is queued again.
        parallel: Members of a sweep that run at the same time.
        folder: Folder of job scripts, logs and records.
        extra: Other options of sbatch, e.g. `{mail-type: END}`.
    """

    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    mem_gb: float = 0.0
    timeout_min: int = 60
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    comment: str = ""
    setup: list[str] = field(default_factory=list)
    signal_delay_s: int = 90
    max_requeues: int = 20
    parallel: int = 256
    folder: str = "runs/jobs"
    extra: dict[str, str] = field(default_factory=dict)


def compose_cluster(path: Path | None, overrides: Sequence[str]) -> tuple[ClusterConfig, list[str]]:
    """Return what the cluster is asked for, and the other overrides.

    Args:
        path: YAML file of the cluster. Default: none.
        overrides: Settings; those that begin with `cluster.` are of the cluster.

    Raises:
        ConfigError: If the file is missing or wrong, a key is unknown or a value out of range.
    """
    ours = [each.removeprefix(PREFIX) for each in overrides if each.startswith(PREFIX)]
    others = [each for each in overrides if not each.startswith(PREFIX)]
    said: object = {}
    if path is not None:
        require_regular_file(path, ConfigError)
        try:
            said = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as err:
            raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(err).split())}") from err
        if not isinstance(said, dict):
            raise ConfigError(f"{path}: expected keys and values such as 'nodes: 1', found {type(said).__name__}")
    known = [item.name for item in fields(ClusterConfig)]
    for key in [*map(str, said), *(each.partition("=")[0] for each in ours)]:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
            raise ConfigError(f"unknown setting {PREFIX}{key}; {hint}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(ClusterConfig), said, OmegaConf.from_dotlist(ours))
        config = OmegaConf.to_object(merged)
    except (OmegaConfBaseException, yaml.YAMLError) as err:
        raise ConfigError(f"{path or 'cluster'}: {str(err).splitlines()[0]}") from err
    assert isinstance(config, ClusterConfig)  # the schema of the merge
    for key in ("nodes", "tasks_per_node", "cpus_per_task", "timeout_min", "parallel", "signal_delay_s"):
        if getattr(config, key) < 1:
            raise ConfigError(f"{PREFIX}{key} must be at least 1, got {getattr(config, key)}")
    for key in ("gpus_per_node", "mem_gb", "max_requeues"):
        if getattr(config, key) < 0:
            raise ConfigError(f"{PREFIX}{key} must not be negative, got {getattr(config, key)}")
    return config, others
