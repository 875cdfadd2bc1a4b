"""Where a training runs: on all devices of this machine, in a debugger, or as a job of a cluster."""
