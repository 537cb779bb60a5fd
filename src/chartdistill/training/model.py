"""The student: loaded frozen, with a fresh LoRA adapter or the one it starts from, and what its architecture allows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chartdistill.errors import ConfigError, ModelError
from chartdistill.training.options import TrainOptions
from chartdistill.training.starting_adapter import load_start

if TYPE_CHECKING:
    import torch


def load_model(folder: Path, options: TrainOptions, start: Path | None = None) -> Any:
    """The frozen student with a fresh LoRA adapter, or with `start` to train further, in the dtype the hardware does
    well.

    Raises:
        ModelError: the weights cannot be loaded.
        ConfigError: 4-bit weights were to be sharded.
    """
    if options.load_in_4bit and is_sharded():
        raise ConfigError(
            "train.load_in_4bit is true, but FSDP cannot distribute 4-bit weights. Launch with configs/accelerate/"
            "ddp.yaml (each GPU holds the 4-bit student), or set train.load_in_4bit to false."
        )
    from transformers import BitsAndBytesConfig

    from chartdistill.training.compiled import compile_layers
    from chartdistill.training.lora_products import fuse_lora_products

    dtype = chosen_dtype(options)
    quantization = None
    if options.load_in_4bit:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
        )
    model = add_adapter(_load_whole(folder, "student", dtype, quantization), options, start)
    fuse_lora_products(model)
    if options.compile:
        compile_layers(model)
    return model


def load_teacher(folder: Path, options: TrainOptions, adapter: Path | None = None) -> Any:
    """The teacher with its adapter, frozen, for reading alone, in the dtype of the student.

    Raises:
        ModelError: the weights or the adapter cannot be loaded.
    """
    model = _load_whole(folder, "teacher", chosen_dtype(options))
    if adapter is not None:
        from peft import PeftModel

        try:
            model = PeftModel.from_pretrained(model, str(adapter))
        except (OSError, ValueError) as error:
            raise ModelError(f"the teacher's adapter in {adapter} cannot be loaded: {error}") from error
    return model.requires_grad_(False).eval()


def _load_whole(folder: Path, role: str, dtype: torch.dtype, quantization: Any = None) -> Any:
    """A model as its folder has it, on this process's device, with attention that follows packed rows where it can."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from chartdistill.training.attention import ATTENTION, register_attention

    register_attention()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        attention = ATTENTION if _takes_attention(config) else None
        if _caps_scores(config.get_text_config()):
            attention = "eager"  # the others would drop the cap without a word
        return AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            quantization_config=quantization,
            device_map=_device_map(),
            local_files_only=True,
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"the {role} in {folder} cannot be loaded for training: {error}") from error


def add_adapter(model: Any, options: TrainOptions, start: Path | None = None) -> Any:
    """Freeze a model and put a LoRA adapter on it: a fresh one, or the one in the folder `start`.

    4-bit weights stay in their compute dtype all around. PEFT's `prepare_model_for_kbit_training` would turn norms and
    embeddings to float32, and with them all that flows between layers: twice the memory, and attention on a card falls
    back to a kernel that holds whole score matrices.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import GenerationConfig

    model.config.use_cache = False
    model.generation_config = GenerationConfig()  # the folder's may sample, or punish repetition
    if options.load_in_4bit:
        for module in model.modules():
            # Or bitsandbytes repacks the weights for good, and rounds their scales, at the first validation on a CPU.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
    lora = options.lora
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(options.seed)  # the adapter's first values
    try:
        return get_peft_model(model, config) if start is None else load_start(model, start, lora)
    except ValueError as error:
        raise ModelError(f"no adapter fits the student: {error} Set train.lora.target_modules.") from error


def is_sharded() -> bool:
    """Whether `accelerate launch` distributes the weights over the processes (configs/accelerate/fsdp.yaml)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def _device_map() -> dict[str, int] | None:
    """This process's own GPU; None on a CPU, and where FSDP is to distribute the weights itself."""
    import torch

    if not torch.cuda.is_available() or is_sharded():
        return None
    return {"": int(os.environ.get("LOCAL_RANK", "0"))}


def chosen_dtype(options: TrainOptions) -> torch.dtype:
    """Of the frozen weights: as the options say, or what the hardware does well."""
    import torch

    if options.dtype != "auto":
        return torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
    return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported(False) else torch.float32


def compute_dtype(model: Any) -> torch.dtype:
    """The dtype attention computes in: that of the frozen floating-point weights."""
    import torch

    kinds = [p.dtype for p in model.parameters() if not p.requires_grad and p.dtype.is_floating_point]
    embedding = model.get_input_embeddings().weight.dtype
    return embedding if embedding in kinds or not kinds else torch.float32


def why_not_packed(model: Any) -> str | None:
    """Why this architecture cannot follow a row layout, so that it needs plain padded rows; None when it can."""
    from chartdistill.training.attention import ATTENTION

    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None)
    if kinds := sorted(set(layers or ()) - {"full_attention"}):
        return f"layers of kind {', '.join(kinds)} do not follow an attention mask"
    if not layers and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"a sliding window of {config.sliding_window} tokens would be lost"
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    if getattr(base, "_is_stateful", False):
        return "it carries a state from token to token"
    if _caps_scores(config):
        return "it caps attention scores"
    if config._attn_implementation != ATTENTION:
        return f"{type(base).__name__} does not take an attention function of ours"
    return None


def _takes_attention(config: Any) -> bool:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return bool(getattr(kind, "_supports_attention_backend", False))


def _caps_scores(config: Any) -> bool:
    return bool(getattr(config, "attn_logit_softcapping", None))
