"""Capabilities of the processor."""

import os

import torch

# the threads of OpenMP do not survive a fork: a child that waits for them, in torch's own operations too, never ends
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def bfloat16_hardware(device: torch.device) -> str:
    """The name of the hardware that computes bfloat16 on this device; empty where there is none."""
    if device.type == "cuda":
        return "cuda" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    if device.type == "cpu":
        capabilities, highest = torch.cpu.get_capabilities(), os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
        if not any(word in highest for word in ("BF16", "AMX", "AVX10", "ALL", "DEFAULT")):
            return ""
        return next((name for name in ("amx_bf16", "avx512_bf16", "bf16") if capabilities.get(name)), "")
    return ""
