#!/usr/bin/env bash
# Install SLURM and munge on Debian if this is root and they are missing; the tests say what is missing otherwise.
command -v slurmctld >/dev/null && command -v munged >/dev/null && exit 0
[ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge || true
