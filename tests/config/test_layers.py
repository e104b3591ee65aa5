"""Settings: where they come from, which wins, what is wrong with them, said all at once and in the user's words."""

from __future__ import annotations

import os

import pytest

from dlworkflow import config as c
from dlworkflow.config.layers import merge
from dlworkflow.config.settings import trackers_in
from dlworkflow.config.yaml_text import load_yaml
from dlworkflow.errors import ConfigError, MissingDataError
from dlworkflow.training.settings import resolve_config

LINE = c.from_flags({"model.name": ("MODEL", "line")})


def faults(*layers):
    with pytest.raises(ConfigError) as caught:
        resolve_config(layers)
    return list(caught.value.faults)


def flags(**values):
    return c.from_flags({key.replace("__", "."): (f"--{key}", value) for key, value in values.items()})


def test_a_model_alone_trains_by_its_recipe():
    config = resolve_config([LINE])

    assert (config.data.name, config.data.batch_size, config.optimizer.name, config.optimizer.lr, config.epochs) == (
        "line",
        "full",
        "sgd",
        0.01,
        100,
    )


def test_flag_beats_set_beats_file_beats_recipe(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("model: line\nepochs: 2\nseed: 2\noptimizer: {name: sgd, lr: 2.0}\n")
    typed = c.together(c.from_overrides(["epochs=3", "seed=3"]), flags(epochs=4))

    config = resolve_config([c.read_file(file), typed])

    assert (config.epochs, config.seed, config.optimizer.lr, config.data.name) == (4, 3, 2.0, "line")


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        (["tensorboard", "mlflow"], {"tensorboard": {}, "mlflow": {"log_model": True}}),
        ("tensorboard", {"tensorboard": {}, "mlflow": {"log_model": True}}),
        ([{"mlflow": {"experiment": "x"}}], {"mlflow": {"experiment": "x", "log_model": True}}),
        ({"mlflow": {"experiment": "x"}}, {"mlflow": {"experiment": "x", "log_model": True}}),
        (None, {"mlflow": {"log_model": True}}),
    ],
)
def test_a_setting_of_one_tracker_keeps_the_others_and_its_other_settings(below, expected):
    merged = merge([c.from_mapping({"track": below}), c.from_overrides(["track.mlflow.log_model=true"])])

    assert trackers_in(merged.values["track"]) == expected


def test_another_optimizer_does_not_inherit_the_recipes_learning_rate():
    config = resolve_config([LINE, flags(optimizer__name="adam")])

    assert config.optimizer.lr == 1e-3


def test_another_data_set_keeps_the_batch_size_and_drops_the_first_ones_settings():
    layer = c.from_flags({"model.name": ("MODEL", "line_deep"), "data.name": ("--data", "moons")})

    config = resolve_config([layer])

    assert config.data.batch_size == "full"
    assert config.data.settings == {}


def test_a_setting_of_the_data_typed_beside_its_name_is_kept():
    typed = c.together(c.from_overrides(["data.noise=0.2"]), flags(data__name="moons"))

    config = resolve_config([c.from_flags({"model.name": ("MODEL", "circles_v2")}), typed])

    assert config.data.settings == {"noise": 0.2}


def test_a_setting_typed_for_another_optimizer_is_refused_not_dropped():
    typed = c.together(c.from_overrides(["optimizer.momentum=0.9"]), flags(optimizer__name="adam"))

    assert faults(LINE, typed) == [
        "optimizer.momentum: optimizer 'adam': unknown setting 'momentum'; possible: lr, eps, weight_decay"
    ]


def test_all_faults_are_said_at_once():
    typed = c.from_overrides(["epochs=-1", "optimizer.lr=-1", "data.step=x", "modl=3", "seed=true"])

    found = faults(LINE, typed)

    assert found == [
        "data.step: must be a number, not 'x'",
        "optimizer.lr: must be more than 0, not -1",
        "epochs: must be at least 0, not -1",
        "seed: must be a whole number, not True",
        "modl: unknown setting 'modl'; did you mean 'model'?",
    ]


def test_a_fault_in_a_file_names_the_file(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("model: line\nepochs: two\n")

    assert faults(c.read_file(file)) == [f"{file}: epochs: must be a whole number, not 'two'"]


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-3"])
def test_numbers_with_an_exponent_are_numbers_in_yaml(text):
    config = resolve_config([LINE, c.from_overrides([f"optimizer.lr={text}"])])

    assert config.optimizer.lr == 0.001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: 1\nepochs: 2\n", "line 2: 'epochs' stands twice"),
        ("model: [line\n", "line 2"),
        ("- a\n", "must be a mapping of settings, not list"),
        ("!!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_settings_is_refused(tmp_path, text, words):
    file = tmp_path / "my.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"my.yaml") as caught:
        c.read_file(file)
    assert words in str(caught.value)


_BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10 if i else 'x' * 10)}]\n" for i in range(12))
_MERGED = "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_BOMB, "line 5: more than 20,000 keys and values, aliases among them"),
        (f"a0: &a0 {{x: 1}}\n{_MERGED}", "more than 20,000 keys and values"),
        ("".join(f"a{i}: &a{i} [{f'*a{i - 1}' if i else 'x'}]\n" for i in range(100)), "nested more than 50 deep"),
        ("".join(f"k{i}: 1\n" for i in range(60_000)), "more than 20,000 keys and values"),
        ("epochs: " + "[" * 30_000, "nested more than 50 deep"),
        ("{a: " * 30_000, "nested more than 50 deep"),
        ("? " * 30_000, "nested more than 50 deep"),
        ("epochs: !!int 1" + ":59" * 100_000, "a number of 300,001 characters"),
        ("? [a]\n: 1\n", "a key must be a name"),
        ("epochs: !!binary aGVsbG8=\n", "bytes is no kind of value here"),
        ("#" * 2**21, "at most 1,048,576"),
    ],
)
def test_yaml_that_would_grow_without_bounds_is_refused_at_once(text, words):
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, where="my.yaml")
    assert words in str(caught.value)


def test_an_alias_stands_for_what_it_names():
    assert load_yaml("a: &a {x: [1]}\nb: *a\nc: {<<: *a, y: 2}", where="") == {
        "a": {"x": [1]},
        "b": {"x": [1]},
        "c": {"x": [1], "y": 2},
    }


def test_a_settings_file_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "my.yaml")

    with pytest.raises(ConfigError, match=r"my\.yaml.*not a regular file"):
        c.read_file(tmp_path / "my.yaml")


def test_a_message_shows_a_few_of_many_faults_and_little_of_a_long_value():
    layer = c.from_overrides([f"k{i}=1" for i in range(200)] + [f"epochs=[{'1,' * 5000}]"])

    with pytest.raises(ConfigError, match=r"; and 181 more$") as caught:
        resolve_config([LINE, layer])
    assert len(str(caught.value)) < 10_000


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"none\.yaml"):
        c.read_file(tmp_path / "none.yaml")


@pytest.mark.parametrize("pair", ["epochs", "=3", "a..b=1", ".=1"])
def test_an_override_that_is_no_key_and_value_shows_how_to_write_one(pair):
    with pytest.raises(ConfigError, match="write it as key=value"):
        c.from_overrides([pair])


def test_a_name_stands_for_a_section(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("model: circles_v2\ndata: moons\noptimizer: adam\n")

    config = resolve_config([c.read_file(file)])

    assert (config.model.name, config.data.name, config.optimizer.name) == ("circles_v2", "moons", "adam")


def test_a_section_name_and_a_setting_of_it_can_be_set_in_either_order():
    for pairs in (["data=moons", "data.noise=0.3"], ["data.noise=0.3", "data=moons"]):
        config = resolve_config([c.from_flags({"model.name": ("MODEL", "circles_v2")}), c.from_overrides(pairs)])

        assert (config.data.name, config.data.settings) == ("moons", {"noise": 0.3})


def test_settings_survive_yaml(tmp_path):
    config = resolve_config([LINE])
    file = tmp_path / "again.yaml"
    file.write_text(config.to_yaml())

    assert resolve_config([c.read_file(file)]) == config


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        resolve_config([LINE]).epochs = 3


def test_every_optimizer_of_the_settings_can_be_built():
    import torch

    from dlworkflow.engine.optimizers import OPTIMIZERS, build_optimizer

    for name in OPTIMIZERS.names():
        settings = resolve_config([LINE, flags(optimizer__name=name)]).optimizer.model_dump()
        del settings["decay_bias_and_norm"]
        optimizer = build_optimizer(settings.pop("name"), [torch.nn.Parameter(torch.zeros(1))], **settings)

        assert optimizer.param_groups[0]["lr"] == settings["lr"]


def test_nesterov_without_momentum_is_refused_by_name():
    import torch

    from dlworkflow.engine.optimizers import build_optimizer

    with pytest.raises(ConfigError, match=r"optimizer.nesterov: needs momentum"):
        build_optimizer("sgd", [torch.nn.Parameter(torch.zeros(1))], lr=0.1, nesterov=True)


def test_settings_of_a_file_without_a_name_survive_a_name_typed_beside_it(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("model: {hidden_units: 32}\noptimizer: {lr: 0.5}\ndata: {image_size: 16}\n")
    typed = c.from_flags(
        {
            "model.name": ("MODEL", "tinyvgg"),
            "data.name": ("--data", "digits"),
            "optimizer.name": ("--optimizer", "adam"),
        }
    )

    config = resolve_config([*c.over_notes([c.read_file(file)]), typed])

    assert (config.model.settings, config.optimizer.lr, config.data.settings) == (
        {"hidden_units": 32},
        0.5,
        {"image_size": 16},
    )


def test_settings_of_another_optimizer_in_a_file_do_not_reach_the_one_typed(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("model: line\noptimizer: {name: sgd, momentum: 0.9}\n")

    assert resolve_config([c.read_file(file), flags(optimizer__name="adam")]).optimizer.name == "adam"


def test_a_value_within_itself_is_refused_with_its_line(tmp_path):
    file = tmp_path / "self.yaml"
    file.write_text("epochs: &a [*a]\n")

    with pytest.raises(ConfigError, match=r"self\.yaml line 1: found unconstructable recursive node"):
        c.read_file(file)


@pytest.mark.parametrize(
    ("pair", "words"),
    [("model=foo", "model.name: 'foo' contradicts MODEL 'line'"), ("model=3", "model: must be a name")],
)
def test_two_names_of_one_thing_are_refused(pair, words):
    with pytest.raises(ConfigError, match=words):
        c.together(c.from_overrides([pair]), LINE)


def test_a_recipe_is_chosen_by_name():
    best = resolve_config([flags(model__name="tinyvgg", recipe="best")])

    assert best.data.name == "pizza_steak_sushi"
    assert best != resolve_config([flags(model__name="tinyvgg", recipe="notes", data__name="pizza_steak_sushi")])


def test_what_the_user_sets_beats_the_chosen_recipe():
    assert resolve_config([flags(model__name="tinyvgg", recipe="best", epochs=3)]).epochs == 3


def test_a_recipes_pictures_are_prepared_alike_where_the_data_is_the_users_own():
    own = resolve_config([flags(model__name="tinyvgg", recipe="best", data__name="image_folder", data__path="x")])
    theirs = resolve_config([flags(model__name="tinyvgg", recipe="best")])

    assert own.data.settings == theirs.data.settings | {"path": "x"}
    assert own.data.batch_size == theirs.data.batch_size


@pytest.mark.parametrize(
    ("settings", "recipe"),
    [
        ({"model": "tinyvgg", "data": "pizza_steak_sushi"}, "best"),
        ({"model": "tinyvgg", "data": "digits", "seed": 3, "device": "cpu", "val_fraction": 0.2}, "best"),
        ({"model": "tinyvgg", "data": "digits", "epochs": 3}, "notes"),
        ({"model": {"name": "tinyvgg", "hidden_units": 8}}, "notes"),
        ({"model": "tinyvgg", "data": {"name": "digits", "batch_size": 8}}, "notes"),
        ({"model": "tinyvgg", "epochs": 3, "recipe": "best"}, "best"),
        ({"model": "fashion_mnist_v2"}, "notes"),
        ({"model": "fashion_mnist_v2", "data": "digits"}, "best"),
        ({"model": "circles_v2", "data": "moons"}, "notes"),
        ({"model": "resnet18", "data": "digits"}, None),
    ],
    ids=str,
)
def test_settings_in_python_that_set_how_to_train_keep_the_notes_recipe(settings, recipe):
    assert resolve_config(settings).recipe == recipe


def test_flags_are_laid_over_the_recipe_that_suits_the_data():
    config = resolve_config([flags(model__name="tinyvgg", data__name="digits", epochs=3)])

    assert (config.recipe, config.epochs, config.schedule.name) == ("best", 3, "one_cycle")


def test_the_settings_of_a_run_say_which_recipe_and_repeat_it(tmp_path):
    config = resolve_config([flags(model__name="tinyvgg", data__name="pizza_steak_sushi", epochs=3)])
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())

    assert resolve_config(c.over_notes([c.read_file(file)])) == config


@pytest.mark.parametrize(("dataset", "mirrored"), [("mnist", False), ("emnist", False), ("fashion_mnist", True)])
def test_a_recipe_mirrors_clothes_and_neither_digits_nor_letters(dataset, mirrored):
    config = resolve_config([flags(model__name="fashion_mnist_v2", recipe="best", data__name=dataset)])

    assert ("flip" in config.data.settings["transform"]) is mirrored


@pytest.mark.parametrize(
    ("model", "recipe", "fault"),
    [
        ("tinyvgg", "bst", "recipe: unknown recipe 'bst'; did you mean 'best'?"),
        ("blobs", "best", "recipe: model 'blobs' has no recipe 'best'; possible: notes"),
    ],
)
def test_a_recipe_that_is_not_there_is_refused_with_those_that_are(model, recipe, fault):
    assert faults(flags(model__name=model, recipe=recipe)) == [fault]


def test_a_seed_may_choose_the_validation_split_too():
    config = resolve_config([LINE, flags(seed=7, data__val_fraction=0.2, data__val_seed="seed")])

    assert config.data.val_seed == 7


@pytest.mark.parametrize("step", ["{flip: {chance: 1}}", "flop", "{normalize: {mean: [1, 2]}}", "[normalize, flip]"])
def test_a_wrong_transform_is_told_with_all_other_faults_before_data_is_read(step):
    pairs = c.from_overrides([f"data.transform={step if step[0] == '[' else f'[{step}]'}", "epochs=-1"])

    transform, epochs = faults(flags(model__name="tinyvgg", data__name="image_folder", data__path="nowhere"), pairs)

    assert transform.startswith("data.transform")
    assert epochs.startswith("epochs")


@pytest.mark.parametrize("name", ["no", "on", "off", "y", "true", "007", "12:30", "1e3", "2024-01-31", "null", "~"])
def test_a_key_is_the_name_that_stands_there(name):
    assert load_yaml(f"{{{name}: 2}}", where="here") == {name: 2}


@pytest.mark.parametrize("text", ["007", "010", "12:30", "1:30.5", "2024-01-31"])
def test_what_older_yaml_reads_in_another_base_is_text(text):
    assert load_yaml(text, where="here") == text


@pytest.mark.parametrize("pair", ["init_from=7", "data.data_dir=on"])
def test_a_word_that_yaml_reads_as_something_else_is_answered_with_quotes(pair):
    with pytest.raises(ConfigError, match="put a name in quotes"):
        resolve_config([c.from_overrides(["model.name=line", pair])])


def test_yes_and_no_still_switch_a_setting():
    layers = [c.from_overrides(["model.name=circles_v2", "data.shuffle=no", "model.batch_norm=yes"])]

    config = resolve_config(layers)

    assert (config.data.shuffle, config.model.settings["batch_norm"]) == (False, True)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("epochs=9223372036854775808", "epochs: must be at most 2,147,483,647, not 9223372036854775808"),
        ("early_stopping.patience=9223372036854775808", "at most 2,147,483,647"),
        ("accumulate=4294967296", "at most 2,147,483,647"),
        ("schedule={name: step, step_size: 4294967296}", "at most 2,147,483,647"),
        ("mixup=1e-300", "mixup: must be 0 or between 0.001 and 1,000,000, not 1e-300"),
        ("cutmix=-1", "cutmix: must be 0 or between"),
        ("seed=4294967296", "less than 4,294,967,296"),
        ("optimizer.lr=1e400", "finite"),
    ],
)
def test_a_number_beyond_any_use_is_refused_with_its_bounds(pair, words):
    with pytest.raises(ConfigError) as caught:
        resolve_config([LINE, c.from_overrides([pair])])
    assert words in str(caught.value)


def test_a_tracker_and_a_setting_of_it_are_typed_side_by_side():
    named, of_one = flags(track=["tensorboard", "mlflow"]), c.from_overrides(["track.mlflow.log_model=true"])

    assert c.together(of_one, named).values == {"track": ["tensorboard", {"mlflow": {"log_model": True}}]}
