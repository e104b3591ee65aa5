import subprocess
import sys
from importlib.metadata import EntryPoints
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from dlworkflow import data, models
from dlworkflow.errors import ConfigError, DataError, MissingDataError
from dlworkflow.registry import plugins

OWN = [
    "line",
    "circles",
    "moons",
    "blobs",
    "spirals",
    "digits",
    "fashion_mnist",
    "mnist",
    "emnist",
    "cifar10",
    "pizza_steak_sushi",
    "image_folder",
    "image_csv",
    "image_shards",
    "csv_table",
]


@pytest.fixture
def registered(monkeypatch):
    """Register data sets for one test only."""
    monkeypatch.setattr(data.REGISTRY, "registered", {})
    return data.register


@pytest.fixture
def installed():
    """Look anew for other packages, before the test and after it."""
    plugins._entry_points.cache_clear()
    yield
    plugins._entry_points.cache_clear()


def two_parts(n):
    part = TensorDataset(torch.rand(n, 2), torch.zeros(n))
    return part, part


def load_mine(*, n_samples: int = 10, data_dir: str = "none", offline: bool = False):
    return two_parts(n_samples)


def test_all_data_sets_of_the_notes_are_in_the_table():
    assert data.names() == OWN


@pytest.mark.parametrize("name", OWN)
def test_every_entry_has_a_loader(name):
    assert callable(data.loader(name))


@pytest.mark.parametrize("name", ["line", "circles", "moons", "blobs", "spirals", "digits"])
def test_every_entry_states_the_task_of_its_data(name):
    assert data.load(name).task == data.entries()[name].task


@pytest.mark.parametrize("name", OWN)
def test_every_entry_states_what_its_data_looks_like(name):
    assert data.entries()[name].looks in ("photos", "grey", "points", "table")


def test_images_of_one_channel_are_grey_and_may_be_letters():
    given = {"name": "image_folder", "path": "letters", "channels": 1}

    assert (data.looks(given), data.mirrors(given)) == ("grey", False)


@pytest.mark.parametrize("name", ["line", "circles", "moons", "blobs", "spirals", "digits"])
def test_a_loaded_data_set_bears_the_name_that_was_typed(name):
    assert data.load(name).name == name


@pytest.mark.parametrize("name", OWN)
def test_the_defaults_of_a_data_set_are_no_faults(name):
    given = {key: value for key, value in data.settings(name).items() if value is not None}

    assert {key: fault for key, fault in data.faults(name, given).items() if key != "path"} == {}


def test_listing_imports_nothing_heavy():
    look = "import sys, dlworkflow.data as d; d.entries(); print({'torch', 'numpy', 'PIL', 'sklearn'} & {*sys.modules})"

    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout == "set()\n"


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"data\.name: unknown data set 'circle'; did you mean 'circles'\?"):
        data.load("circle")


def test_an_unknown_setting_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"data\.nois: data 'circles': .*'nois'; did you mean 'noise'\?"):
        data.load("circles", nois=0.1)


def test_all_faults_of_the_settings_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        data.load("circles", nois=0.1, n_samples=-3, test_fraction=2)

    assert len(caught.value.faults) == 3


def test_a_setting_that_is_needed_is_named():
    with pytest.raises(ConfigError, match=r"data\.path: data 'image_folder' needs it"):
        data.load("image_folder")


def test_where_the_files_lie_is_no_setting():
    assert {"data_dir", "offline"} & data.settings("fashion_mnist").keys() == set()


def test_a_data_set_of_your_own_is_loaded_by_name(registered):
    registered("mine", load_mine)

    assert len(data.load("mine", n_samples=3).train) == 3


def test_a_data_set_of_your_own_is_listed(registered):
    registered("mine", load_mine)

    assert list(data.entries()) == [*OWN, "mine"]


def test_a_data_set_of_your_own_is_suggested(registered):
    registered("my_galaxies", load_mine)

    with pytest.raises(ConfigError, match="did you mean 'my_galaxies'"):
        data.load("my_galaxy")


def test_a_data_set_of_your_own_is_told_where_files_lie(registered):
    given = {}
    registered("mine", lambda *, data_dir, offline: given.update(dir=data_dir, offline=offline) or two_parts(1))
    data.load("mine", data_dir="there", offline=True)

    assert given == {"dir": "there", "offline": True}


def test_a_data_set_of_your_own_may_have_nothing_but_settings(registered):
    registered("mine", lambda *, n=1: two_parts(n))

    assert len(data.load("mine", data_dir="there", n=2).train) == 2


def test_what_a_data_set_of_your_own_returns_is_checked(registered):
    registered("mine", lambda *, n=1: n)

    with pytest.raises(
        DataError, match=r"data set 'mine': expected dlworkflow\.Splits, or torch data sets .*; got int"
    ):
        data.load("mine")


def test_wrong_settings_of_your_own_data_set_are_refused_by_its_signature(registered):
    registered("mine", load_mine)

    with pytest.raises(ConfigError, match=r"data\.n_samples: must be a whole number, not 'many'"):
        data.load("mine", n_samples="many")


def test_a_name_of_the_library_cannot_be_registered(registered):
    with pytest.raises(ConfigError, match="'circles' is the library's own"):
        registered("circles", load_mine)


def test_a_data_set_of_another_package_is_found_by_its_entry_point(tmp_path, monkeypatch, installed):
    (tmp_path / "dlw_test_plugin.py").write_text("def load(*, n: int = 1):\n    return ('plugged', n)\n")
    (tmp_path / "dlw_test_plugin-1.dist-info").mkdir()
    (tmp_path / "dlw_test_plugin-1.dist-info" / "METADATA").write_text("Name: dlw-test-plugin\nVersion: 1\n")
    (tmp_path / "dlw_test_plugin-1.dist-info" / "entry_points.txt").write_text(
        "[dlworkflow.data]\nplugged = dlw_test_plugin:load\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert data.load("plugged", n=2) == ("plugged", 2)


def test_a_damaged_installation_of_another_package_stops_nothing(installed, monkeypatch, tmp_path):
    (tmp_path / "damaged-1.dist-info" / "entry_points.txt").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)

    assert "circles" in data.names()


@pytest.mark.parametrize("room", [data, models])
def test_other_packages_are_looked_for_once(room, monkeypatch, tmp_path):
    plugins._entry_points.cache_clear()
    (tmp_path / "toys-1.dist-info").mkdir()
    (tmp_path / "toys-1.dist-info" / "entry_points.txt").write_text("[dlworkflow.toys]\nany = toys:any\n")
    monkeypatch.syspath_prepend(tmp_path)
    looks = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda: looks.append(1) or EntryPoints())
    room.names()
    room.names()
    plugins._entry_points.cache_clear()

    assert len(looks) == 1


def test_a_name_of_the_table_is_located_as_itself():
    assert data.locate("digits") == {"name": "digits"}


def test_a_name_of_the_table_goes_before_a_folder_of_that_name(in_tmp):
    Path("digits").mkdir()

    assert data.locate("digits") == {"name": "digits"}


def test_a_folder_is_located_as_pictures(in_tmp):
    Path("photos").mkdir()

    assert data.locate("photos") == {"name": "image_folder", "path": str(in_tmp / "photos")}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("path,label\n", "image_csv"),
        ("photo,label\na/1.jpg,cat\n", "image_csv"),
        ("age,price\n1,2\n", "csv_table"),
        ("", "csv_table"),
    ],
)
def test_a_csv_file_is_located_by_its_columns(in_tmp, text, name):
    Path("list.CSV").write_text(text, encoding="utf-8")

    assert data.locate("list.CSV") == {"name": name, "path": str(in_tmp / "list.CSV")}


def test_a_column_path_among_many_is_taken_for_images_and_this_is_logged(in_tmp, caplog):
    Path("list.csv").write_text("path,a,b,c\nx,1,2,3\n", encoding="utf-8")

    assert data.locate("list.csv")["name"] == "image_csv"
    assert "--set data.name=csv_table" in caplog.text


def test_another_file_is_refused(in_tmp):
    Path("photos.zip").touch()

    with pytest.raises(DataError, match=r"data: 'photos\.zip' is a file; give a folder of images, a CSV"):
        data.locate("photos.zip")


def test_a_path_that_is_not_there_is_refused(in_tmp):
    with pytest.raises(MissingDataError, match="data: no such folder or file: 'some/where'"):
        data.locate("some/where")


def test_a_word_that_is_neither_name_nor_folder_is_refused_with_the_nearest_name(in_tmp):
    with pytest.raises(ConfigError, match="unknown data set 'digit'; did you mean 'digits'"):
        data.locate("digit")


def test_no_word_at_all_is_not_taken_for_the_working_folder(in_tmp):
    with pytest.raises(ConfigError, match="data: "):
        data.locate("")


def test_a_data_set_that_is_made_on_the_spot_has_no_files(in_tmp):
    assert data.find("circles") is None


def test_a_data_set_that_is_made_on_the_spot_cannot_be_fetched():
    with pytest.raises(DataError, match="data 'circles' needs no files to be fetched"):
        data.get("circles")


def test_a_fetchable_data_set_that_is_not_there_is_not_found(in_tmp):
    assert data.find("pizza_steak_sushi", str(in_tmp)) is None


def test_finding_an_unknown_data_set_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'pizza_steak_sushi'"):
        data.find("pizza_steak")


def test_the_data_folder_is_the_one_given(monkeypatch):
    monkeypatch.setenv("DLW_DATA_DIR", "elsewhere")

    assert data.data_folder("here") == Path("here")


def test_the_data_folder_is_else_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("DLW_DATA_DIR", "elsewhere")

    assert data.data_folder() == Path("elsewhere")


def test_the_data_folder_is_else_data_in_the_working_folder(monkeypatch):
    monkeypatch.delenv("DLW_DATA_DIR", raising=False)

    assert data.data_folder() == Path("data")
