"""What `accelerate launch` is to know of a run: its processes, how they share weights and optimizer; what cannot be.
Leaves out several machines, offloading to processors or disks, and tensor, context and expert parallelism."""

import importlib.util

WHOLE = ("ddp", "zero2")  # every process holds all weights, so it can sample and score by itself


def accelerate_config(run, gpus):
    """accelerate's configuration of a run as plain JSON values; gpus: whether each process has one.

    bfloat16 is the arithmetic's, as at one process: FSDP and ZeRO keep the weights they update in float32. DeepSpeed
    takes what is "auto" from the trainer.

    >>> from pzlib.run import Run
    >>> accelerate_config(Run(processes=8, sharding="zero2"), gpus=True)["deepspeed_config"]["zero_stage"]
    2
    """
    kind = {"ddp": "MULTI_GPU", "fsdp": "FSDP"}.get(run.sharding, "DEEPSPEED")
    config = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": kind,  # accelerate knows no other word for several processes of one machine, GPUs or not
        "num_machines": 1,
        "machine_rank": 0,
        "num_processes": run.processes,
        "main_process_port": 0,  # any that is free
        "mixed_precision": "bf16" if run.dtype == "bfloat16" else "no",
        "use_cpu": not gpus,
    }
    if kind == "FSDP":
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_reshard_after_forward": True,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",  # the model names its layers itself
            "fsdp_state_dict_type": "FULL_STATE_DICT",  # a checkpoint's weights are a model that anything loads
            "fsdp_cpu_ram_efficient_loading": False,  # every process looks at the weights it loaded
            "fsdp_offload_params": False,
        }
    if kind == "DEEPSPEED":
        config["deepspeed_config"] = {
            "zero_stage": int(run.sharding[-1]),
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "offload_optimizer_device": "none",
            "offload_param_device": "none",
            "zero3_init_flag": False,
            "zero3_save_16bit_model": True,
        }
    return config


def check(run):
    """ValueError, naming the setting and the remedy, for what a run's sharding cannot do.

    Sharded weights are read by all processes together, so no process can sample or score on its own: vLLM has to.

    >>> from pzlib.run import Run
    >>> check(Run(processes=2, sharding="fsdp"))
    Traceback (most recent call last):
    ValueError: sharding: with 'fsdp' no process can sample by itself; set use_vllm to True, or sharding to ddp
    """
    if run.processes == 1 and run.sharding != "ddp":
        raise ValueError(f"sharding: one process has nobody to share {run.sharding!r} with; raise processes")
    if run.sharding.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
        raise ValueError("sharding: DeepSpeed is not installed; pip install deepspeed on a GPU box, or take fsdp")
    if run.sharding in WHOLE:
        return
    can = "; {}, or sharding to " + ("zero2 or ddp" if run.sharding == "zero3" else "ddp")
    if run.lora_rank:
        raise ValueError(f"lora_rank: adapters are not merged from sharded weights{can.format('set it to 0')}")
    if run.objective in ("sft", "continued_pretraining", "mixed_sft"):
        return
    alone = f"sharding: with {run.sharding!r} no process can"
    if not run.use_vllm:
        raise ValueError(f"{alone} sample by itself{can.format('set use_vllm to True')}")
    if run.objective == "rlp":
        raise ValueError(f"{alone} tell how likely a token is, and none holds the moving average; set sharding to ddp")
    if run.objective in ("entropy_next_token", "rpt") and run.entropy_model == "policy":
        raise ValueError(f"{alone} measure the policy's entropy{can.format('set entropy_model to base')}")
    if run.objective == "rpt" and run.rpt_reward in ("dense", "conditional_dense"):
        raise ValueError(f"{alone} tell how likely a token is{can.format('set rpt_reward to prefix')}")
