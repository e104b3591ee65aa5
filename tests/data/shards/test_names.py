import pytest

from dlworkflow import data
from dlworkflow.data.shards.names import expand, expand_braces, refuse_expanded, shards_path
from dlworkflow.errors import ConfigError, MissingDataError


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{00..02}.tar", ["a-00.tar", "a-01.tar", "a-02.tar"]),
        ("{9..11}.tar", ["9.tar", "10.tar", "11.tar"]),
        ("{08..11}.tar", ["08.tar", "09.tar", "10.tar", "11.tar"]),
        ("{2..1}.tar", ["2.tar", "1.tar"]),
        ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
        ("{x}.tar", ["{x}.tar"]),
        ("plain.tar", ["plain.tar"]),
    ],
)
def test_braces_stand_for_what_they_do_in_bash(pattern, names):
    assert expand_braces(pattern) == names


@pytest.mark.parametrize("pattern", ["{0..999999999}.tar", "{0..9999}{0..9999}.tar"])
def test_a_pattern_of_endlessly_many_shards_is_refused(pattern):
    with pytest.raises(ConfigError, match="stands for more than 1,000,000 shards"):
        expand_braces(pattern)


@pytest.mark.parametrize(
    "text", ["pipe:cat a.tar", "http://host/{00..31}.tar", "s3://bucket/a.tar", "file:/etc/a.tar", "PIPE:touch x;.tar"]
)
def test_an_address_or_a_command_is_refused_and_not_run(text, in_tmp):
    for read in (shards_path, expand):
        with pytest.raises(ConfigError, match="is no local path; shards are read from files alone"):
            read(text)
    assert list(in_tmp.iterdir()) == []


def test_a_file_that_is_there_is_no_pattern(tmp_path):
    file = tmp_path / "{1,2}.tar"
    file.touch()

    assert expand(str(file)) == [file]


def test_a_star_stands_for_what_is_there(tmp_path):
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).touch()

    assert [file.name for file in expand(str(tmp_path / "*.tar"))] == ["a.tar", "b.tar"]


def test_shards_that_are_not_there_are_named(tmp_path):
    (tmp_path / "00.tar").touch()

    with pytest.raises(MissingDataError, match=r"data\.path: 2 of 3 shards are not there: '.*01\.tar', '.*02\.tar'$"):
        expand(str(tmp_path / "{00..02}.tar"))


def test_a_folder_of_tar_files_is_one_of_shards_and_a_folder_of_classes_is_not(tmp_path, pets):
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "0.tar").touch()
    (pets / "archive.tar").touch()

    assert data.locate(str(tmp_path / "tars"))["name"] == "image_shards"
    assert data.locate(str(pets))["name"] == "image_folder"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "tinyvgg", "--data", "s/0.tar", "s/1.tar", "s/2.tar"],
        ["train", "tinyvgg", "--data=s/0.tar", "--data=s/1.tar"],
        ["data", "info", "s/0.tar", "s/1.tar"],
    ],
)
def test_a_pattern_that_the_shell_expanded_is_refused_and_not_cut_to_one_shard(arguments):
    with pytest.raises(ConfigError, match="the shell has expanded it; put it in quotes"):
        refuse_expanded(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "tinyvgg", "--data", "theirs/{00..01}.tar", "--set", "data.test=theirs/test-*.tar"],
        ["train", "tinyvgg", "--data=a.tar", "--set", "data.test=b.tar", "--set=data.val=c.tar"],
    ],
)
def test_a_setting_that_names_other_shards_is_no_pattern_that_the_shell_expanded(arguments):
    refuse_expanded(arguments)
