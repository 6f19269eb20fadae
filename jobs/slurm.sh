#!/usr/bin/env bash
# What train.slurm asks of Slurm. Sourced after environment.sh, not run:
#
#   make_command PROGRAM...     sets `command`: the program under srun or mpirun, on all nodes of the job
#   job_state                   prints running, preempted (Slurm will end it soon), or ended (Slurm is ending it now)
#   sbatch_options              prints the options that sbatch was given for this job, each after a space

make_command() {
    local list='' group every
    if [ "${LAUNCHER:-srun}" = srun ] && [ -x "$VENV/bin/ompi_info" ]; then
        list=$(srun --mpi=list 2>&1) || list=''
    fi
    if ! [[ $list =~ (^|[[:space:]])pmix ]]; then
        ((${SLURM_HET_SIZE:-1} == 1)) || fail "in a heterogeneous job mpirun sees the nodes of the first group only;" \
            "needed: srun --mpi=pmix, or nodes in one group"
        command=(mpirun "$@")
        return
    fi
    export OPAL_PREFIX=$VENV
    every=(--mpi=pmix --kill-on-bad-exit=1)
    command=(srun "${every[@]}" "--cpus-per-task=${SLURM_CPUS_PER_TASK:-1}" "$@")
    if ((${SLURM_HET_SIZE:-1} > 1)); then
        command=(srun)
        for ((group = 0; group < SLURM_HET_SIZE; group++)); do
            ((group == 0)) || command+=(:)
            command+=("${every[@]}" "--het-group=$group" "--nodes=$(of_group JOB_NUM_NODES "$group")"
                "--ntasks=$(of_group NTASKS "$group" "$(of_group JOB_NUM_NODES "$group")")"
                "--cpus-per-task=$(of_group CPUS_PER_TASK "$group" 1)" "$@")
        done
    fi
}

of_group() {    # of_group NAME GROUP [DEFAULT]: what Slurm says of a group; sbatch's options hold for the first alone
    local name=SLURM_$1_HET_GROUP_$2
    echo "${!name:-${3-}}"
}

job_state() {
    case $(scontrol show job -o "$SLURM_JOB_ID" 2>/dev/null || true) in
        *JobState=RUNNING*' PreemptTime='[0-9]*) echo preempted ;;
        *JobState=RUNNING*) echo running ;;
        *) echo ended ;;
    esac
}

sbatch_options() {
    local job word name between=''
    while read -r job; do       # a heterogeneous job has a line for each group
        printf '%s' "$between"
        for word in $job; do
            case ${word%%=*} in
                Partition) name=partition ;;
                Account) name=account ;;
                QOS) name=qos ;;
                Reservation) name=reservation ;;
                Features) name=constraint ;;
                ExcNodeList) name=exclude ;;
                TresPerNode) name=gres ;;
                NumNodes) name=nodes ;;
                NtasksPerN:B:S:C) name=ntasks-per-node word=${word%%:0:*} ;;
                CPUs/Task) name=cpus-per-task ;;
                MinMemoryNode) name=mem ;;
                MinMemoryCPU) name=mem-per-cpu ;;
                TimeLimit) name='time' ;;
                *) continue ;;
            esac
            case ${word#*=} in '(null)' | N/A | 0 | '') ;; *) printf ' --%s=%q' "$name" "${word#*=}" ;; esac
        done
        between=' :'
    done < <(scontrol show job -o "$SLURM_JOB_ID" 2>/dev/null)
    printf '%s' "${SLURM_ARRAY_TASK_ID:+ --array=$SLURM_ARRAY_TASK_ID}"
}
