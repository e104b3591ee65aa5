"""Cures of a run as commands: which fit it, that each is accepted and trains as printed, that nothing is lost."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys

import pytest
import yaml

from dlworkflow import models
from dlworkflow.analysis import diagnosis
from dlworkflow.analysis.diagnosis.changes import OTHER_MODELS
from dlworkflow.analysis.diagnosis.of_run import situation_of
from dlworkflow.analysis.diagnosis.suggestions import MOST, Situation, suggested_commands
from dlworkflow.cli.app import main
from dlworkflow.config import Layer, from_overrides
from dlworkflow.config.command_line import train_command
from dlworkflow.data import locate
from dlworkflow.runs import Summary
from dlworkflow.training.job import prepare
from dlworkflow.training.provenance import first_summary
from dlworkflow.training.settings import fill_defaults, resolve_config

RULES = list(diagnosis.RULES.table.values())
SMALL = {"line": "data.step=0.1", "circles": "data.n_samples=40", "blobs": "data.n_samples=40"}


@pytest.fixture(scope="module")
def food(tmp_path_factory):
    """A folder of small colour images, more of one class than of the other; a shell could misread its name."""
    from PIL import Image

    root = tmp_path_factory.mktemp("data") / "it's; $HOME"
    for split, sizes in (("train", {"no": 12, "v1.5": 6}), ("test", {"no": 4, "v1.5": 1})):
        for label, size in sizes.items():
            (root / split / label).mkdir(parents=True)
            for i in range(size):
                Image.new("RGB", (8, 8), (14 * i, 9 * i, 0)).save(root / split / label / f"{i}.png")
    return root


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Keep to one thread: so small a convolution gains nothing from a second."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def summary_of(model, *said, data=None, **facts):
    """What a run of the notes' recipe says of itself before it has trained; images are those of the folder `data`."""
    located = locate(str(data)) if data is not None else {}
    layers = [Layer({"model": {"name": model}, **({"data": located} if located else {})})]
    layers.append(from_overrides(["recipe=notes", *said]))
    first = {"status": "running", "started": "", **first_summary(prepare(resolve_config(layers)))}
    return Summary.from_data(first | facts)


def small_summary(model, food, *said):
    """The same on as little data as it takes, for so few epochs that every command can be run as it is printed."""
    usual = models.entries()[model].data
    if usual in SMALL:
        return summary_of(model, SMALL[usual], "epochs=4", *said)
    return summary_of(model, "data.image_size=8", "epochs=4", *said, data=food)


def of_rule(rule, situation):
    return [command for _, command in suggested_commands(rule.suggestions, situation)]


def of_verdict(verdict, summary, **facts):
    """What is printed for a verdict, all its rules together."""
    situation = Situation(**vars(situation_of(summary)) | facts)
    return list(dict.fromkeys(c for rule in RULES if rule.verdict == verdict for c in of_rule(rule, situation)))


def of_all(summary, **facts):
    """Every command that any rule could print for a run, also where the list of a rule is cut short."""
    situation = Situation(**vars(situation_of(summary)) | facts)
    every = dict.fromkeys(cure for rule in RULES for cure in rule.suggestions)
    told = [suggested_commands([cure], situation) for cure in every]
    return list(dict.fromkeys(command for cures in told for _, command in cures))


def answer(command, *more):
    """What `dlw` says to a command line that was printed: exit code, stdout and stderr."""
    program, *arguments = shlex.split(command)
    assert program == "dlw"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([*arguments, *more])
    return ended.value.code, out.getvalue(), err.getvalue()


def refused(command):
    """What `dlw` has against a command, checked without training and without a download; nothing when it is right."""
    if command.startswith("dlw lr-find"):
        code, _, err = answer(command, "--steps", "10")
        return "" if code == 0 or "no learning rate to suggest" in err else err
    code, _, err = answer(command, "--print-config" if "--weights default" in command else "--dry-run")
    return "" if code == 0 else err


OWN = [name for name in models.names() if not models.is_published(name)]
RUNS = [
    *((name,) for name in OWN),
    (
        "circles_v2",
        "model.activation=tanh",
        "model.dropout=0.5",
        "optimizer.lr=0.3",
        "seed=7",
        "data.val_fraction=0.25",
    ),
    (
        "blobs",
        "model.relu=true",
        "optimizer.weight_decay=0.01",
        "optimizer.decay_bias_and_norm=false",
        "data.batch_size=4",
    ),
    ("line_deep", "optimizer.momentum=0.9", "loss=mse"),
    ("tinyvgg", "recipe=best"),
    ("fashion_mnist_v2", "recipe=best"),
    (
        "tinyvgg",
        "optimizer=sgd",
        "schedule=step",
        "schedule.step_size=2",
        "averaging=batch",
        "early_stopping.patience=2",
    ),
    (
        "fashion_mnist_v2",
        "loss=multi_margin",
        "loss_weights={'v1.5': 2.0}",
        "clip_norm=1",
        "mixup=0.2",
        "channels_last=true",
    ),
]


@pytest.mark.parametrize("said", RUNS, ids=lambda said: "-".join(said)[:40])
def test_every_printed_command_is_accepted(said, food, in_tmp):
    commands = of_all(small_summary(said[0], food, *said[1:]))

    assert len(commands) > 1
    assert {command: fault for command in commands if (fault := refused(command))} == {}


def test_every_printed_command_for_shards_is_accepted(pet_shards, in_tmp):
    commands = of_all(summary_of("tinyvgg", "data.image_size=16", data=pet_shards), unequal=True)

    assert any("loss_weights=balanced" in command for command in commands)
    assert {command: fault for command in commands if (fault := refused(command))} == {}


@pytest.mark.parametrize("model", ["circles_v2", pytest.param("tinyvgg", marks=pytest.mark.slow)])
def test_every_printed_command_trains_as_it_is_printed(model, food, in_tmp):
    found = of_all(small_summary(model, food))
    commands = [c for c in found if c.startswith("dlw train") and "--weights" not in c and "efficientnet" not in c]

    assert {command: err for command in commands if (said := answer(command))[0] and (err := said[2])} == {}


def read_back(command):
    """The settings that a command trains with, but for those of the machine."""
    code, out, err = answer(command, "--print-config")
    assert code == 0, err
    return without_machine(yaml.safe_load(out))


def without_machine(tree):
    return {key: value for key, value in tree.items() if key not in ("device", "threads", "loss")} | {
        "data": {key: value for key, value in tree["data"].items() if key != "data_dir"}
    }


@pytest.mark.parametrize("usual", [True, False], ids=["short", "complete"])
@pytest.mark.parametrize("said", RUNS[len(OWN) :], ids=lambda said: "-".join(said)[:40])
def test_a_printed_command_means_the_settings_of_the_run_with_its_cure(said, usual, food, in_tmp):
    known = situation_of(small_summary(said[0], food, *said[1:]))
    for cure in [cure for cure in dict.fromkeys(c for rule in RULES for c in rule.suggestions) if cure.way == "change"]:
        meant = []
        facts = {"accepts": lambda tree, meant=meant, known=known: meant.append(tree) is None and known.accepts(tree)}
        run = Situation(**vars(known) | facts | ({} if usual else {"usual": None}))
        for _, command in suggested_commands([cure], run):
            tree = fill_defaults(resolve_config([Layer(dict(meant[-1]))])).to_tree()
            assert read_back(command) == without_machine(tree), command


@pytest.mark.parametrize("model", OWN)
def test_no_cure_is_the_run_itself_again(model, food, in_tmp):
    summary = small_summary(model, food)

    assert train_command(summary.config, situation_of(summary).usual) not in of_all(summary)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.reason.__name__)
def test_no_diagnosis_gives_more_advice_than_can_be_followed(rule, food, in_tmp):
    assert len(of_rule(rule, situation_of(small_summary("tinyvgg", food)))) <= MOST == 6


def test_the_commands_of_a_rule_keep_its_order():
    cures = [cure for rule in RULES if rule.verdict == "overfitting" for cure in rule.suggestions]

    assert [command for _, command in suggested_commands(cures, situation_of(summary_of("circles_v2")))] == [
        "dlw train circles_v2 --data circles --set data.n_samples=4000",
        "dlw train circles_v2 --data circles --set model.dropout=0.3",
        "dlw train circles_v2 --data circles --val-fraction 0.2 --patience 100",
        "dlw train circles_v2 --data circles --set optimizer.weight_decay=0.001",
        "dlw train circles_v2 --data circles --set model.hidden_units=5",
        "dlw train circles_v2 --data circles --set label_smoothing=0.1",
    ]


def test_a_straight_model_is_told_to_bend_and_nothing_else():
    flat_rule = diagnosis.RULES["no_better"]

    assert of_rule(flat_rule, situation_of(summary_of("circles_v1"))) == ["dlw train circles_v2 --data circles"]


def test_a_run_on_photos_that_collapsed_gets_what_is_known_to_work(food):
    summary = summary_of("tinyvgg", "data.image_size=8", data=food)
    plain = diagnosis.RULES["collapsed"]

    told = [shlex.split(command)[5:] for command in of_rule(plain, situation_of(summary))]

    assert told[:4] == [
        ["--recipe", "best"],  # of efficientnet_lite0
        ["--recipe", "notes", "--image-size", "8", "--set", "loss_weights=balanced"],
        ["--recipe", "notes", "--image-size", "8", "--set", "data.sampler=balanced"],
        ["--recipe", "best", "--image-size", "8"],
    ]


def test_a_download_is_said_before_it_is_advised(food, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "timm", None)  # as where the extra is not installed
    summary = summary_of("tinyvgg", "data.image_size=8", data=food)
    cures = [cure for rule in RULES for cure in rule.suggestions if cure.way == "pretrained"]

    [(why, _)] = suggested_commands(cures, situation_of(summary))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").touch()
    [(here, _)] = suggested_commands(cures, situation_of(summary))

    assert "; downloads its weights first, 45 MB; or train efficientnet_lite0" in why
    assert "download" not in here


@pytest.mark.parametrize("model", ["tinyvgg", "fashion_mnist_v2", "circles_v2"])
def test_pretrained_networks_are_for_photos(model, food):
    digits = summary_of(model, *(["data=digits"] if model != "circles_v2" else []))

    assert not any("resnet18" in command or "efficientnet" in command for command in of_all(digits))


def test_equal_classes_are_not_told_to_be_balanced():
    assert not any("balanced" in command for command in of_all(summary_of("tinyvgg")))


def test_a_run_that_balances_its_classes_is_not_told_to(food):
    weighed = summary_of("tinyvgg", "data.image_size=8", "loss_weights=balanced", data=food)

    assert not any("sampler" in command for command in of_all(weighed))


@pytest.mark.parametrize("said", ["early_stopping.patience=3", "mixup=0.5", "label_smoothing=0.2", "clip_norm=2"])
def test_what_a_run_does_already_is_left_as_it_is(said):
    [key, value] = said.split("=")
    own = [command for command in of_all(summary_of("tinyvgg", said)) if key.partition(".")[0] in command]

    assert all(f"{key}={value}" in command or f"{key}={value}.0" in command or "=0.0" in command for command in own)


def test_a_validation_split_that_is_there_is_not_cut_again(food):
    summary = summary_of("tinyvgg", "data.image_size=8", "data.val_fraction=0.4", data=food)

    [stopping] = [command for command in of_all(summary) if "--patience" in command]

    assert "--val-fraction 0.4" in stopping
    assert "0.2" not in stopping


@pytest.mark.parametrize(
    ("spec", "more", "plain"),
    [
        ("null", "trivial_augment", None),
        ("flip", "flip,trivial_augment", "none"),
        ("flip,normalize", "flip,trivial_augment,normalize", "normalize"),
        ("rand_augment", None, "none"),
        ("[{flip: {p: 0.3}}, normalize]", [{"flip": {"p": 0.3}}, "trivial_augment", "normalize"], "normalize"),
    ],
)
def test_augmentation_is_added_and_taken_out_where_it_belongs(spec, more, plain):
    summary = summary_of("tinyvgg", f"data.transform={spec}")

    found = [
        read_back(c)["data"]["transform"]
        for c in of_all(summary)
        if "transform" in c and "--set" in c and "dlw train" in c
    ]
    own = summary.config["data"]["transform"]

    assert [each for each in found if each != own] == [each for each in (plain, more) if each is not None]


def test_weight_decay_of_adamw_is_stronger():
    assert any("weight_decay=0.1" in c for c in of_all(summary_of("tinyvgg", "optimizer=adamw")))


def test_a_model_of_another_package_is_told_what_needs_no_knowledge_of_it():
    summary = summary_of("tinyvgg")
    run = Situation({**summary.config, "model": {"name": "mine", "width": 3}})

    told = [command for rule in RULES for command in of_rule(rule, run)]

    assert {shlex.split(command)[2] for command in told} == {"mine"}


def test_the_machine_of_a_run_is_not_repeated():
    run = Situation({**summary_of("blobs").config, "device": "cuda:7", "threads": 64})

    assert not {"cuda:7", "64"} & set(shlex.split(of_rule(RULES[0], run)[0]))


def test_what_a_run_did_otherwise_is_kept():
    summary = summary_of("blobs", "optimizer.lr=0.3", "data.n_samples=200", "seed=7")

    assert of_verdict("good_fit", summary) == [
        "dlw train blobs --data blobs --lr 0.3 --seed 7 --set data.n_samples=200 --epochs 400"
    ]


def test_a_run_of_another_optimizer_names_it_and_no_more():
    told = of_verdict("good_fit", summary_of("blobs", "optimizer=adam"))

    assert told == ["dlw train blobs --data blobs --optimizer adam --epochs 400"]


def test_a_change_to_what_is_usual_is_said_all_the_same():
    wide = of_verdict("overfitting", summary_of("tinyvgg", "model.hidden_units=20"))

    assert "dlw train tinyvgg --data digits --recipe notes --set model.hidden_units=10" in wide


def test_a_run_of_the_recipe_that_suits_the_data_is_written_without_its_name(food):
    told = of_verdict("good_fit", summary_of("tinyvgg", "recipe=best", "data.image_size=8", "seed=3", data=food))
    longer = str(4 * models.recipe("tinyvgg", "best")["epochs"])

    assert [shlex.split(command)[5:] for command in told] == [["--image-size", "8", "--seed", "3", "--epochs", longer]]


def test_another_model_keeps_the_units_that_a_user_chose():
    told = of_verdict("underfitting", summary_of("circles_v1", "model.hidden_units=32"))

    assert "dlw train circles_v2 --data circles --set model.hidden_units=32" in told


@pytest.mark.parametrize("model", ["line", "line_v2", "line_deep", "circles_v0", "circles_v1", "fashion_mnist_v0"])
def test_a_straight_model_is_never_told_to_change_its_width(model, food):
    assert not any("hidden_units" in command for command in of_all(small_summary(model, food)))


def test_blobs_that_cannot_bend_get_their_relus():
    assert "dlw train blobs --data blobs --set model.relu=true" in of_verdict("underfitting", summary_of("blobs"))


def test_numbers_are_never_told_to_be_augmented(food):
    for model in ("line", "circles_v2", "blobs"):
        assert not any("transform" in c or "cutmix" in c for c in of_all(small_summary(model, food)))


@pytest.mark.parametrize(("old", "new"), [pair for kind in OTHER_MODELS.values() for pair in kind.items()])
def test_a_model_is_exchanged_for_one_whose_recipe_trains_the_same_way_and_as_long_at_least(old, new):
    before, after = models.recipe(old), models.recipe(new)

    assert before | {"epochs": after["epochs"]} == after
    assert before["epochs"] <= after["epochs"]


def test_a_frozen_backbone_may_be_thawed_and_all_that_is_printed_for_it_is_accepted(food, in_tmp):
    said = ["model=resnet18", "weights=default", "freeze=backbone", "epochs=4"]
    layers = [Layer({"data": locate(str(food))}), from_overrides(said)]
    config = fill_defaults(resolve_config(layers)).to_tree() | {"loss": "cross_entropy"}

    told = of_all(summary_of("tinyvgg", "data.image_size=8", data=food, config=config))

    assert any(command.endswith("--freeze-epochs 2 --set backbone_lr_scale=0.1") for command in told)
    assert {command: err for command in told if (err := resolved(command))} == {}


def resolved(command):
    """What is wrong with the settings of a command; a search for the rate takes the same, but for flags of epochs."""
    code, _, err = answer(command.replace("dlw lr-find", "dlw train"), "--print-config")
    return err if code else ""


def test_no_rule_means_a_setting_that_does_not_exist(food, in_tmp):
    """Each change is printed for some run, but for those that need what no small run has."""
    runs = [*RUNS, ("tinyvgg", "precision=fp16", "model.dropout=0.5"), ("circles_v2", "model.activation=sigmoid")]
    printed = set()
    for said in runs:
        run = situation_of(small_summary(said[0], food, *said[1:]))
        for cure in {cure for rule in RULES for cure in rule.suggestions} - printed:
            if suggested_commands([cure], run):
                printed.add(cure)

    silent = {cure for rule in RULES for cure in rule.suggestions} - printed
    assert [cure.settings for cure in silent] == [("freeze_epochs?=2",)]  # of a pretrained network, see above
