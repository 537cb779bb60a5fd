"""A run folder whose training is finished, of a tiny byte-level model with random weights and a random adapter."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from adapters import make_adapter
from gguf_files import SPECIAL, TEMPLATE, make_tokenizer

SYSTEM = "Answer from the chart."
CHARTS = ("Pt. takes aspirin 81 mg.", "Stop  metformin;\nstart 2 x 10 mg insulin?", "No drugs (none). Prognosis: good.",
          "Given ½ tab of warfarin – at 37.2 °C.", "The nurse gives 10 mg of {n} in the morning.")  # fmt: skip


def make_base(folder: Path, seed: int = 1, architecture: str = "llama", **changes: Any) -> Path:
    """A model folder. `changes`: of its config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(), eos_token=SPECIAL[2], bos_token=SPECIAL[1], pad_token=SPECIAL[2],
        unk_token=SPECIAL[0],
    )  # fmt: skip
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    biased = {"attention_bias": True} if architecture == "llama" else {}
    config = AutoConfig.for_model(
        architecture,
        **{
            "vocab_size": 416, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 512,
            "tie_word_embeddings": True, "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2,
            "pad_token_id": 2, **biased, **changes,
        },
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    for name, value in model.named_parameters():
        if name.endswith("bias"):  # else they are 0, and one that is lost would not show
            torch.nn.init.normal_(value, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "LICENSE").write_text("Apache License\nVersion 2.0\n")
    return folder


def make_run(folder: Path, base: Path | None = None, charts: int = 24, **lora: Any) -> Path:
    """A run folder with a base beside it. `lora`: of peft.LoraConfig."""
    from chartdistill.config import load_run
    from chartdistill.run_file import write_run
    from chartdistill.schema import Record
    from places import ROOT

    base = base or make_base(folder / "base")
    run_dir = folder / "run"
    (run_dir / "records").mkdir(parents=True)
    targets = {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"], "lora_alpha": 2, **lora}
    make_adapter(base, run_dir / "adapter", **targets)
    path = run_dir / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base.name}))
    (run_dir / "adapter" / "manifest.json").write_text(json.dumps({"fingerprint": "f", "dtype": "float32"}))
    tasks = [str(ROOT / "configs/tasks" / f"{name}.yaml") for name in ("medication", "prognosis")]
    config = folder / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "name": "tiny", "run_dir": str(run_dir), "system": SYSTEM, "tasks": tasks,
                "records": [{"type": "written"}],
                "teacher": {"model": str(base)},
                "student": {"model": str(base), "engine": {"type": "vllm", "dtype": "float32", "max_num_seqs": 16}},
                "evaluate": {"max_answer_tokens": 16},
            }
        )
    )  # fmt: skip
    write_run(load_run(config))
    rows = [
        Record(
            id=f"r{n}", source="s", text=CHARTS[n % len(CHARTS)].replace("{n}", "x" * n) + f" {n}", cluster=f"c{n}",
            split="test" if n % 4 else "train", segments=(), gold={"medication": (), "prognosis": ()},
        )
        for n in range(charts)
    ]  # fmt: skip
    (run_dir / "records" / "records.jsonl").write_text("".join(row.line() + "\n" for row in rows))
    return run_dir


if __name__ == "__main__":  # an export that is killed when all but its last file is written
    from chartdistill.export import export as verb
    from chartdistill.export.options import Wanted
    from chartdistill.run_file import read_run

    verb._write_note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    verb.export(read_run(Path(sys.argv[1])), Wanted("merged", Path(sys.argv[2]), prompts=0, replace=True))
