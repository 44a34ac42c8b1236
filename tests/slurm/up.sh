#!/usr/bin/env bash
# Start SLURM on this machine alone, as root and without systemd: one node with two GPUs that are aliases of /dev/null.
# All its files lie in the folder that is given, and links in /etc/slurm lead there, as Snakemake hides SLURM_CONF from
# its jobs. Exit code 77 says that it cannot be done here: a machine that has a SLURM is left alone, and some containers
# may make no devices.
set -euo pipefail
home=$(realpath "$1")
if [ -e /etc/slurm/slurm.conf ]; then
  echo "this machine has a SLURM of its own: /etc/slurm/slurm.conf" >&2
  exit 77
fi
mkdir -p "$home"/{state,spool}
host=$(hostname -s)
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)

# SLURM sets CUDA_VISIBLE_DEVICES only for devices that are devices.
for number in 0 1; do mknod -m 666 "$home/gpu$number" c 1 3 || exit 77; done

head -c 1024 /dev/urandom >"$home/munge.key"
chmod 400 "$home/munge.key"
munged --force --key-file="$home/munge.key" --socket="$home/munge.socket" --pid-file="$home/munged.pid" \
  --log-file="$home/munged.log" --seed-file="$home/munge.seed"

echo "NodeName=$host Name=gpu Flags=nvidia_gpu_env File=$home/gpu[0-1]" >"$home/gres.conf"
echo "CgroupAutomount=no" >"$home/cgroup.conf"
cat >"$home/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$home/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
MinJobAge=3600
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
SlurmctldPort=26817
SlurmdPort=26818
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
mkdir -p /etc/slurm
ln -sf "$home"/{slurm,gres,cgroup}.conf /etc/slurm/
slurmctld -c
slurmd -c
for _ in $(seq 200); do
  [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ] && exit 0
  sleep 0.1
done
echo "the node did not come up; see $home/*.log" >&2
exit 1
