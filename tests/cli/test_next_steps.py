"""What `dlw train` takes where nothing is named, how long it says that it takes, and what it says to type next."""

from __future__ import annotations

import shlex

import pytest

from dlworkflow.cli.expected_time import Expected, duration


def after(expected, seconds):
    return [expected.after(each) for each in seconds]


def test_the_time_is_said_once_after_the_first_epoch():
    assert after(Expected(10), [4.0, 4.2, 3.9]) == ["about 40 s in all, for 10 epochs", "", ""]


def test_the_first_epoch_of_a_frozen_backbone_does_not_count():
    assert after(Expected(50, first=2), [30.0, 1.0])[0] == ""


def test_a_short_training_says_no_time():
    assert after(Expected(10), [0.1, 0.1]) == ["", ""]


def test_the_time_is_said_again_where_epochs_become_longer():
    said = after(Expected(20), [2.0] * 3 + [20.0] * 3)

    assert [bool(text) for text in said] == [True, False, False, False, True, False]


def test_tiny_epochs_on_a_busy_machine_do_not_repeat_the_time():
    busy = [0.004 if number // 50 % 2 else 0.001 for number in range(12_000)]

    assert len([text for text in after(Expected(12_000), busy) if text]) <= 2


@pytest.mark.parametrize(("seconds", "text"), [(42.0, "40 s"), (150.0, "2 min"), (7300.0, "2.0 h")])
def test_a_duration_is_rounded(seconds, text):
    assert duration(seconds) == text


def test_the_next_commands_work_as_they_are_printed(dlw, in_tmp):
    said = dlw("train", "blobs", "--epochs", "3", "--runs-dir", "my runs").err
    commands = [shlex.split(line.removeprefix("next"))[1:] for line in said.splitlines() if line.startswith("next")]

    assert [(words[0], dlw(*words).code) for words in commands] == [("predict", 0), ("evaluate", 0)]


def test_data_without_a_model_gets_one_and_the_reason(dlw, in_tmp):
    answer = dlw("train", "--data", "circles", "--epochs", "1")

    assert "no model was named: circles_v2 is the usual model of circles" in answer.err


def test_a_model_without_data_names_its_data(dlw, in_tmp):
    answer = dlw("train", "tinyvgg", "--epochs", "1")

    assert "no data was named: digits is the usual data of tinyvgg" in answer.err


def test_a_backbone_from_random_weights_says_so(dlw, in_tmp):
    answer = dlw("train", "squeezenet1_1", "--data", "digits", "--image-size", "32", "--epochs", "0")

    assert "starts from random weights; --weights default" in answer.err
