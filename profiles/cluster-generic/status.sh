#!/bin/sh
# Print the state of a SLURM job: running, success or failed.
state=$(scontrol show job --oneliner "$1" 2>/dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p')
case "$state" in
COMPLETED) echo success ;;
PENDING | RUNNING | CONFIGURING | COMPLETING | SUSPENDED | REQUEUED | PREEMPTED) echo running ;;
*) echo failed ;;
esac
