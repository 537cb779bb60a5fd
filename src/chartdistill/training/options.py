"""What a config may say about training."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Of answers in the loss."""
DRAW = 2
"""Which validation records are asked about: drawn (1: the first ones). A killed training does not go on with others; a
finished student was chosen by some, and stays."""
WEIGHTING = 2
"""Which rule weights follow: a step's loss is divided by its tokens times the mean weight of all training tokens (1: by
the step's own weight)."""
Parallel = Literal["ddp", "fsdp"]
"""What each of several GPUs holds of the student."""
NEEDS_WEIGHTS = (
    "train.on_policy reads the student's answers with the teacher's weights (of teacher.model, on this machine)"
)


class LoraOptions(BaseModel):
    """The adapter (see peft.LoraConfig)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0, allow_inf_nan=False)
    """The adapter's output is scaled by alpha / rank (rsLoRA: alpha / sqrt(rank))."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False
    """DoRA: the length of each weight column is learned apart from its direction. Slower."""


class DistillationOptions(BaseModel):
    """Learn the teacher's whole distribution at each answer token, not its choice alone.

    Needs `label.top_logprobs`, and a teacher and student with the same vocabulary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=0.5, gt=0, le=1)
    """Share of the distillation loss; the rest is cross entropy on the label."""
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Above 1 the teacher's less likely tokens count for more."""


class OnPolicyOptions(BaseModel):
    """After some epochs of labels the student also learns from its own answers to training prompts: the teacher's whole
    distribution at each token of them (generalised knowledge distillation, GKD).

    Needs the teacher's weights beside the student's, and a teacher and student with the same vocabulary. The names are
    those of Agarwal et al., "On-Policy Distillation of Language Models" (2024), and of TRL's GKDConfig.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=0.5, gt=0, le=1)
    """Share of this loss in a step with answers of the student's own; the rest is the loss on the labels."""
    from_epoch: float = Field(default=1.0, ge=0)
    """Begins after so many epochs of labels alone. A student that does not yet answer in the format teaches little."""
    lmbda: float = Field(default=0.5, gt=0, le=1)
    """Share of records that are drawn in each epoch; the student answers all tasks of a drawn one."""
    beta: float = Field(default=0.5, ge=0, le=1)
    """The divergence: 0 forward KL(teacher || student), 1 reverse KL(student || teacher), between them the generalised
    Jensen-Shannon divergence. At both ends of what is between it goes to 0, so small values there teach slowly."""
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """At which the student's answers are drawn; 0: always its likeliest token. The divergence is taken at 1."""
    max_new_tokens: int = Field(default=128, ge=1)
    """Longest answer of the student's; of one that is cut there, the tokens up to there count."""


class TrainOptions(BaseModel):
    """How the student is tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora: LoraOptions = LoraOptions()
    epochs: float = Field(default=3, gt=0, allow_inf_nan=False)
    learning_rate: float = Field(default=2e-4, gt=0, allow_inf_nan=False)
    warmup_fraction: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps during which the learning rate rises (none where it comes to less than one step); then it
    falls along a cosine."""
    records_per_step: int = Field(default=8, ge=1)
    """Records (with all their tasks) per optimizer step, over all processes."""
    tokens_per_pass: int = Field(default=8192, ge=16)
    """Room of one forward pass: so many tokens of a step's records are packed into one row (`attention: plain`: so many
    are its rows with their padding). Lower it when memory runs out; the result stays the same. A record that is longer
    has a pass of its own. On a CPU also the room of a batch of answers that are generated for validation; on a card
    that is half of the free memory."""
    max_tokens: int = Field(default=4096, ge=16)
    """Longest example (record, question and answer). A longer one stops the run before the first step."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    shared_prefix: bool = True
    """Compute a record once for all of its answers. Same gradients as separate rows, several times faster."""
    attention: Literal["auto", "split", "varlen", "dense", "flex", "plain"] = "auto"
    """How a packed row is attended to. split: two calls per record, no full mask; varlen: two calls per row, no mask
    (CUDA, 16 bits); dense: one call with a full mask; flex: FlexAttention (CUDA). plain: no packing, one padded row per
    answer. auto: varlen on a card where it passes the self-check, else split; plain where the model needs it
    (recurrent layers, sliding windows). The manifest says which."""
    load_in_4bit: bool = False
    """QLoRA: the frozen student in NF4 (bitsandbytes)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the frozen student. auto: bfloat16 on a card that has it and on a CPU that multiplies it clearly faster
    (measured, half a second), else float32."""
    gradient_checkpointing: bool = False
    """Less memory for about a third more time."""
    compile: bool = Field(default=False, exclude_if=lambda compiled: not compiled)
    """Decoder layers through torch.compile, once for rows of any length: fewer launches on a card, for half a minute or
    more at the start. Needs a compiler. Not with load_in_4bit, nor with parallel: fsdp, where nobody has tried it."""
    parallel: Parallel = "ddp"
    """What each of several GPUs holds. ddp: the whole student, which is faster where it fits. fsdp: a share of its
    weights, gathered layer by layer when they are needed, for a student that one GPU cannot hold; not with
    load_in_4bit. The adapter is the same; with one GPU so is all else."""
    distillation: DistillationOptions | None = None
    """None: cross entropy on the labels alone."""
    on_policy: OnPolicyOptions | None = Field(default=None, exclude_if=lambda on_policy: on_policy is None)
    """None: the student learns from labels alone."""
    task_weights: dict[str, Weight] = {}
    """Task name -> weight of its answers, beside that of all others, whichever step they are in; 1 where a task is not
    named, 0 leaves it out."""
    source_weights: dict[str, Weight] = {}
    """Pattern of record sources (* and ?) -> weight of their answers; the first that fits counts, else 1. A pattern
    that counts for no record is an error."""
    validation_passes: int = Field(default=3, ge=0)
    """How often, spread over the run, the validation records are looked at."""
    validation_records: int = Field(default=32, ge=0)
    """On so many of them, drawn by `seed` and one of each cluster first, answers are generated and scored against their
    kept labels; 0: loss only."""
    keep: Literal["best", "last"] = "best"
    """best: the adapter of the validation with the highest joint F1 (then the lowest loss). last: the final one."""
    stop_after_worse: int | None = Field(default=None, ge=1)
    """Stop after so many validations in a row that are not better than the best. None: never."""
    checkpoints: int = Field(default=10, ge=1)
    """How often, spread over the run, its state is saved; a killed run goes on from the last one."""
    tensorboard: bool = False
    """Also write the numbers of training_log.jsonl as TensorBoard events under adapter/tensorboard. A finished training
    is not repeated for it."""
    seed: int = Field(default=0, ge=0, lt=1 << 32)

    @model_validator(mode="after")
    def _four_bits_stay_whole(self) -> Self:
        if self.load_in_4bit and self.parallel == "fsdp":
            raise ValueError(
                "parallel is `fsdp`, but 4-bit weights cannot be distributed; set parallel: ddp (each GPU holds the "
                "4-bit student) or load_in_4bit: false"
            )
        return self

    @model_validator(mode="after")
    def _compiled_layers_are_plain(self) -> Self:
        if self.compile and (self.load_in_4bit or self.parallel == "fsdp"):
            other = "load_in_4bit is true" if self.load_in_4bit else "parallel is `fsdp`"
            raise ValueError(f"compile is true and {other}, which was never tried together; set compile: false")
        return self

    @model_validator(mode="after")
    def _on_policy_can_be(self) -> Self:
        if self.on_policy is None:
            return self
        if self.on_policy.from_epoch >= self.epochs:
            raise ValueError(
                f"on_policy.from_epoch is {self.on_policy.from_epoch:g} and epochs is {self.epochs:g}, so the student "
                "would never answer; set from_epoch below epochs, or leave out on_policy"
            )
        if self.parallel == "fsdp":
            raise ValueError(
                "parallel is `fsdp`, but with on_policy each GPU answers with a whole student beside a whole teacher; "
                "set parallel: ddp, or leave out on_policy"
            )
        return self

    def ask_a_teacher(self) -> list[str]:
        """The options in use that need a teacher's model."""
        named = {"distillation": self.distillation, "on_policy": self.on_policy}
        return [f"train.{name}" for name, options in named.items() if options is not None]

    def what_determines_an_adapter(self) -> dict[str, Any]:
        """The options on which the adapter depends; the others only say how it is computed, or what is kept of that.

        Two of these stand there with their defaults: a student that was trained before they were left out stays one.
        """
        weighting = {"weighting": WEIGHTING} if self.task_weights or self.source_weights else {}
        unused = {name: type(self).model_fields[name].default for name in ("checkpoints", "tensorboard")}
        return self.model_dump(exclude={"parallel"}) | unused | weighting

    def what_determines_a_checkpoint(self) -> dict[str, Any]:
        """Those with which a killed training goes on. Room and recomputing, which are to be changed where memory ran
        out, leave the result the same."""
        draw = {"validation_draw": DRAW} if self.validation_passes and self.validation_records else {}
        return draw | {
            name: value
            for name, value in self.what_determines_an_adapter().items()
            if name not in ("tokens_per_pass", "gradient_checkpointing")
        }
