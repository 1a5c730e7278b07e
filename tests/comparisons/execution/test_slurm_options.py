from dataclasses import replace

import pytest

from comparisons.execution import ExecutionOptions, SlurmOptions
from comparisons.execution.slurm_options import concurrent_runs, parameters


def test_parameters_ask_for_a_cpu_for_each_concurrent_run_and_a_gpu_for_all(make_run):
    options, run = ExecutionOptions(jobs=None, gpu_slots=3), make_run()
    assert concurrent_runs(options, [run]) == 1
    assert "gpus_per_node" not in parameters(options, [run])
    on_gpu = replace(run, device="cuda")
    assert concurrent_runs(options, [on_gpu]) == 3
    values = parameters(options, [on_gpu])
    assert (values["cpus_per_task"], values["gpus_per_node"]) == (3, 1)
    assert concurrent_runs(replace(options, jobs=2), [on_gpu]) == 2


def test_parameters_of_the_user_replace_others_and_lines_add_up():
    more = (
        ("cpus_per_task", "4"), ("slurm_account", "0123"), ("slurm_exclusive", "true"),
        ("slurm_setup", "module load cuda"), ("slurm_setup", "ulimit -c 0"),
        ("slurm_srun_args", "--mpi=none"), ("mem_gb", "1.5"),
    )  # fmt: skip
    values = parameters(ExecutionOptions(slurm=SlurmOptions(minutes=7, more=more)), [])
    assert values["timeout_min"] == 7
    assert values["cpus_per_task"] == 4
    assert values["slurm_account"] == "0123"
    assert values["slurm_exclusive"] is True
    assert values["slurm_setup"] == ["module load cuda", "ulimit -c 0"]
    assert values["slurm_srun_args"] == ["--cpus-per-task=4", "--mpi=none"]
    assert values["mem_gb"] == 1.5


def test_parameters_refuse_what_would_train_a_run_twice():
    options = ExecutionOptions(slurm=SlurmOptions(more=(("tasks_per_node", "2"),)))
    with pytest.raises(ValueError, match="tasks_per_node=2"):
        parameters(options, [])
