#!/usr/bin/env bash
# Bring up a SLURM of one machine on loopback, run a command in it, and take it down: slurm.sh COMMAND...
# Needs root, and on Debian: apt-get install slurm-wlm slurm-client munge. Ends with 77 where it cannot be had.
set -euo pipefail

cannot() { echo "no SLURM on this machine: $1" >&2; exit 77; }

[ "$(id -u)" = 0 ] || cannot "it takes root to bring one up"
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  command -v apt-get >/dev/null || cannot "slurmctld and munged are not installed, and there is no apt-get"
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm slurm-client munge; } >/dev/null 2>&1 \
    || cannot "the packages slurm-wlm and munge cannot be installed"
fi

folder=$(mktemp -d)
host=$(hostname -s)
mkdir "$folder/state" "$folder/spool"
# No cgroups and no accounting: what a container allows. Jobs share the cores, so that an array runs side by side.
cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16827
SlurmdPort=16828
SrunPortRange=60201-60300
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=4000
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$folder/slurm.conf"

if ! munge -n >/dev/null 2>&1; then
  install -d -o munge -g munge -m 0755 /run/munge
  runuser -u munge -- "$(command -v munged)" || cannot "munged does not start"
fi
stop() {
  for name in slurmd slurmctld; do
    if [ -f "$folder/$name.pid" ]; then kill "$(cat "$folder/$name.pid")" 2>/dev/null || true; fi
  done
}
trap stop EXIT
slurmctld -c
slurmd
for _ in $(seq 100); do
  if sinfo -h -o %T 2>/dev/null | grep -q idle; then
    "$@"
    exit
  fi
  sleep 0.1
done
cannot "it does not answer; see $folder/*.log"
