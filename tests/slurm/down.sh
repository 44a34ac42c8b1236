#!/usr/bin/env bash
# Stop what up.sh has started in a folder, and nothing else.
home=$(realpath "$1")
for daemon in slurmd slurmctld munged; do
  pid=$(cat "$home/$daemon.pid" 2>/dev/null) || continue
  kill "$pid" 2>/dev/null
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null && sleep 0.1 || break; done
done
for link in /etc/slurm/*.conf; do
  case "$(readlink "$link")" in "$home"/*) rm "$link" ;; esac
done
