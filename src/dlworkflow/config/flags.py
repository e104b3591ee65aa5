"""The flags of settings: one table for the options of `dlw` and for the commands that it suggests; imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DATA, MODEL, OPTIMIZATION, SEARCH, RUN, OUTPUT = PANELS = (
    *("Data", "Model", "Optimization", "Search", "Run", "Output"),
)
"""Groups of options in `--help`, in this order."""


@dataclass(frozen=True)
class Flag:
    """An option that sets `key`.

    Its help is the setting's own line of documentation, or `about` where the setting is of a signature. `kind` is how
    its text is read: `switch` takes none, `names` may be repeated. `also` are names of such an option in other tools,
    which get a hint.
    """

    name: str
    key: str
    metavar: str
    panel: str
    kind: Literal["text", "number", "switch", "names"] = "text"
    about: str = ""
    also: str = ""


FLAGS = {
    flag.name: flag
    for flag in (
        Flag("--data", "data.name", "NAME|PATH", DATA, also="--dataset --data-path --root"),
        Flag(
            "--image-size",
            "data.image_size",
            "N",
            DATA,
            "number",
            "Height and width of the images [default: by data set and weights].",
            also="--imgsz --img-size --input-size --resize",
        ),
        Flag("--val-fraction", "data.val_fraction", "F", DATA, "number", also="--val-split --validation-split"),
        Flag("--limit", "data.limit", "N|F", DATA, "number", also="--max-samples --subset --limit-train-batches"),
        Flag("--batch-size", "data.batch_size", "N|full", DATA, "number", also="--batch --bs"),
        Flag("--workers", "data.num_workers", "N", DATA, "number", also="--num-workers"),
        Flag(
            *("--on-bad", "data.on_bad", "error|skip", DATA),
            about="Images that cannot be read: error stops, skip leaves them out [default: error].",
        ),
        Flag(
            *("--fast-decode", "data.fast_decode", "", DATA, "switch"),
            about="Decode JPEG files no larger than needed: faster, with slightly different pixels [default: off].",
        ),
        Flag(
            *("--transform", "data.transform", "NAME,NAME,...", DATA),
            about="Augmentation of the training images: names of `dlw list augmentations`, or FILE.py:NAME "
            "[default: none].",
            also="--augment --augmentation --aug",
        ),
        Flag(
            *("--path-column", "data.path_column", "NAME", DATA),
            about="Column of a CSV file with the paths of the images [default: path, or the only one with images].",
        ),
        Flag(
            *("--label-column", "data.label_column", "NAME", DATA),
            about="Column of a CSV file with the labels [default: label, labels or value, else all of 0 and 1].",
        ),
        Flag("--data-dir", "data.data_dir", "DIR", DATA),
        Flag("--model", "model.name", "MODEL", MODEL, about="Model [default: the argument MODEL].", also="--arch"),
        Flag("--recipe", "recipe", "NAME", MODEL),
        Flag("--weights", "weights", "default|NAME|FILE", MODEL, also="--pretrained"),
        Flag("--freeze", "freeze", "none|backbone", MODEL),
        Flag("--freeze-epochs", "freeze_epochs", "N", MODEL, "number"),
        Flag("--init-from", "init_from", "RUN|FILE", MODEL, also="--checkpoint --ckpt --finetune"),
        Flag("--epochs", "epochs", "N", OPTIMIZATION, "number", also="--max-epochs --num-epochs --n-epochs"),
        Flag(
            *("--optimizer", "optimizer.name", "NAME", OPTIMIZATION),
            about="Optimizer: sgd, adam, adamw or rmsprop.",
            also="--opt",
        ),
        Flag(
            *("--loss", "loss.name", "NAME", OPTIMIZATION),
            about="Loss: a name of `dlw list losses`, or FILE.py:NAME [default: the usual one of the task].",
            also="--criterion --loss-fn",
        ),
        Flag(
            *("--lr", "optimizer.lr", "NUMBER", OPTIMIZATION, "number", "Learning rate: a number above 0."),
            also="--lr0 --learning-rate --base-lr",
        ),
        Flag(
            *("--schedule", "schedule.name", "NAME", OPTIMIZATION),
            about="Learning rate schedule: constant, step, multi_step, exponential, cosine, one_cycle or plateau "
            "[default: constant].",
            also="--sched --scheduler --lr-scheduler",
        ),
        Flag("--patience", "early_stopping.patience", "N", OPTIMIZATION, "number", also="--early-stopping"),
        Flag("--precision", "precision", "fp32|bf16|fp16|auto", OPTIMIZATION, also="--amp --fp16 --bf16 --half"),
        Flag("--seed", "seed", "N", RUN, "number"),
        Flag("--device", "device", "NAME", RUN, also="--accelerator --gpu"),
        Flag("--threads", "threads", "N|auto", RUN, "number", also="--num-threads"),
        Flag("--channels-last", "channels_last", "", RUN, "switch"),
        Flag("--compile", "compile", "", RUN, "switch"),
        Flag("--track", "track", "NAME", OUTPUT, "names", also="--logger --report-to --log-wandb"),
        Flag("--seeds", "sweep.seeds", "N", SEARCH, "number"),
        Flag("--random", "sweep.random", "N", SEARCH, "number"),
        Flag("--sampler", "sweep.sampler", "random|tpe", SEARCH),
        Flag("--by", "sweep.by", "METRIC", SEARCH),
        Flag("--at", "sweep.at", "best|last", SEARCH),
        Flag("--jobs", "sweep.jobs", "N|auto", SEARCH, "number"),
        Flag("--max-runs", "sweep.max_runs", "N", SEARCH, "number"),
        Flag("--max-minutes", "sweep.max_minutes", "N", SEARCH, "number"),
    )
}
SHORT = {
    flag.name.removeprefix("--").replace("-", "_"): flag.key
    for flag in FLAGS.values()
    if flag.panel != SEARCH and flag.name not in ("--model", "--loss")  # names of sections already
}
"""What Python users may write for a setting, as its option without dashes: `lr` for `optimizer.lr`."""

HINTS = {  # options of other tools that no flag stands for -> what to type here
    "--wd": "--set optimizer.weight_decay=1e-4",
    "--weight-decay": "--set optimizer.weight_decay=1e-4",
    "--momentum": "--set optimizer.momentum=0.9",
    "--warmup-epochs": "--set schedule.warmup_epochs=2",
    "--dropout": "--set model.dropout=0.2",
    "--drop": "--set model.dropout=0.2",
    "--smoothing": "--set label_smoothing=0.1",
    "--clip-grad": "--set clip_norm=1",
    "--gradient-clip-val": "--set clip_norm=1",
    "--accumulate-grad-batches": "--set accumulate=4",
    "--gpus": "--processes, one for each GPU",
    "--devices": "--processes, one for each GPU",
    "--nproc-per-node": "--processes, one for each GPU",
    "--output-dir": "--runs-dir",
    "--project": "--runs-dir",
    "--exp-name": "--name",
    "--experiment": "--name",
    **{other: flag.name for flag in FLAGS.values() for other in flag.also.split()},
}
OF_LR_FIND = (
    "--data",
    "--image-size",
    "--limit",
    "--batch-size",
    "--workers",
    "--data-dir",
    "--recipe",
    "--optimizer",
    "--device",
    *("--model", "--loss", "--transform"),
)
OF_SWEEP = (
    *(
        "--data",
        "--image-size",
        "--limit",
        "--batch-size",
        "--workers",
        "--data-dir",
        "--recipe",
        "--epochs",
        "--device",
    ),
    *("--model", "--loss", "--transform", "--track"),
    *(flag.name for flag in FLAGS.values() if flag.panel == SEARCH),
)
OF_TRAIN = tuple(flag.name for flag in FLAGS.values() if flag.panel != SEARCH)
OF_CROSSVAL = (*OF_TRAIN, "--jobs", "--max-runs", "--max-minutes")
OF_LABELS = (
    *("--model", "--recipe", "--weights", "--freeze", "--init-from", "--epochs", "--lr", "--val-fraction"),
    *("--image-size", "--batch-size", "--limit", "--workers", "--on-bad", "--path-column", "--label-column"),
    *("--data-dir", "--seed", "--device", "--threads", "--jobs", "--max-runs", "--max-minutes"),
)
