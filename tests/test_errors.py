"""Errors name parameters to Python users and options to those of the command line."""

from __future__ import annotations

import pytest

from dlworkflow.errors import ConfigError, DlwError, few, naming_options


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("--batch-size: must be at least 1", "batch_size: must be at least 1"),
        ("name another folder with --data-dir", "name another folder with data_dir"),
        ("--force resumes without the comparison", "force=True resumes without the comparison"),
        ("only with --freeze backbone", "only with freeze='backbone'"),
        ("give more, for example --epochs 10", "give more, for example epochs=10"),
        ("give --weights FILE or --init-from RUN", "give weights=FILE or init_from=RUN"),
        ("--set optimizer.lr: must be more than 0", "optimizer.lr: must be more than 0"),
        ("--filter: unknown column", "where: unknown column"),
        ("resume with: dlw train --resume last", "resume with: dlw train --resume last"),
        ("write more (`dlw data shard DIR --shards 8`)", "write more (`dlw data shard DIR --shards 8`)"),
        ("no file '--lr'", "no file '--lr'"),
    ],
)
def test_an_option_in_a_message_is_read_as_a_parameter_in_python(written, read):
    assert str(DlwError(written)) == read


def test_each_fault_names_parameters():
    assert ConfigError("--lr: x", "--epochs: y").faults == ("lr: x", "epochs: y")


def test_the_command_line_names_options():
    with naming_options():
        assert str(ConfigError("--lr: x")) == "--lr: x"


def test_what_the_command_line_named_is_over_when_it_ends():
    with naming_options():
        pass

    assert str(DlwError("--lr: x")) == "lr: x"


def test_a_list_of_long_names_stays_short():
    line = few([f"class {number} {'of a long name ' * 20}" for number in range(101)], 20)

    assert len(line) < 1_000
    assert line.endswith(" and 100 more")


def test_a_list_of_short_names_has_as_many_as_are_asked_for():
    assert few(range(101), 20).endswith("'19' and 81 more")
