"""The notes' helpers that print: times, folders, saved models, downloads, writers."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from datetime import date

import pytest
import torch
from torch import nn

import dlworkflow as dlw
from dlworkflow.course import helpers
from dlworkflow.data.download import Remote
from dlworkflow.errors import ConfigError, DataError, MissingDataError, RunError

NO_SHA256 = "[INFO] No sha256 was given: only the size is checked, and that it is a whole zip file."


def test_print_train_time_prints_and_returns_the_seconds(capsys):
    assert dlw.print_train_time(1.0, 3.5, "cpu") == 2.5
    assert capsys.readouterr().out == "Train time on cpu: 2.500 seconds\n"


def test_walk_through_dir_counts_every_folder(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").touch()

    dlw.walk_through_dir(tmp_path)

    assert capsys.readouterr().out.splitlines() == [
        f"There are 1 directories and 0 images in '{tmp_path}'.",
        f"There are 0 directories and 1 images in '{tmp_path}/a'.",
    ]


def test_walk_through_dir_names_a_folder_that_is_not_there():
    with pytest.raises(MissingDataError, match="no folder 'piza'"):
        dlw.walk_through_dir("piza")


def test_save_model_prints_where_and_returns_it(in_tmp, capsys):
    path = dlw.save_model(model=nn.Linear(1, 1), target_dir="models", model_name="line.pth")

    assert capsys.readouterr().out == f"[INFO] Saving model to: {path}\n"
    assert str(path) == "models/line.pth"


def test_a_saved_model_is_a_plain_state_dict(in_tmp):
    model = nn.Linear(1, 1)
    path = dlw.save_model(model, "models", "line.pt", verbose=False)

    assert torch.equal(torch.load(path, weights_only=True)["weight"], model.weight)


def test_save_model_prints_nothing_when_it_is_not_verbose(in_tmp, capsys):
    dlw.save_model(nn.Linear(1, 1), "models", "line.pt", verbose=False)

    assert capsys.readouterr().out == ""


def test_a_folder_for_models_that_cannot_be_made_is_named(in_tmp):
    (in_tmp / "models").touch()

    with pytest.raises(RunError, match=r"cannot make the folder 'models': .*File exists"):
        dlw.save_model(nn.Linear(1, 1), "models", "line.pt")


@pytest.fixture
def published(in_tmp, monkeypatch):
    """A zip file with one image at an address; data is kept in `data` of the working folder."""
    monkeypatch.delenv("DLW_DATA_DIR", raising=False)
    path = in_tmp / "published" / "photos.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/cat/0.png", b"a cat")
    return path


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_download_data_takes_the_call_of_the_course(published, in_tmp):
    folder = dlw.download_data(source=published.as_uri(), destination="pets")

    assert str(folder) == "data/pets"
    assert below(in_tmp / "data") == ["pets/train/cat/0.png"]


def test_download_data_prints_what_it_does(published, capsys):
    dlw.download_data(published.as_uri(), "pets")

    assert capsys.readouterr().out.splitlines() == [
        "[INFO] Did not find data/pets directory, creating one...",
        f"[INFO] Downloading photos.zip from {published.as_uri()}...",
        NO_SHA256,
        "[INFO] Unzipping photos.zip data...",
    ]


def test_download_data_prints_nothing_when_it_is_not_verbose(published, capsys):
    dlw.download_data(published.as_uri(), "pets", verbose=False)

    assert capsys.readouterr().out == ""


def test_a_digest_that_is_given_is_checked_and_not_missed(published, capsys):
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    dlw.download_data(published.as_uri(), "pets", sha256=digest.upper(), size=published.stat().st_size)

    assert NO_SHA256 not in capsys.readouterr().out


def test_another_digest_leaves_no_folder(published, in_tmp):
    with pytest.raises(DataError, match="another sha256"):
        dlw.download_data(published.as_uri(), "pets", sha256="0" * 64)

    assert below(in_tmp / "data") == []


def test_a_folder_with_files_is_left_as_it_is(published, in_tmp, capsys):
    (in_tmp / "data" / "pets").mkdir(parents=True)
    (in_tmp / "data" / "pets" / "mine.png").touch()
    dlw.download_data(published.as_uri(), "pets")

    assert capsys.readouterr().out == "[INFO] data/pets directory exists, skipping download.\n"
    assert below(in_tmp / "data") == ["pets/mine.png"]


def test_an_empty_folder_that_a_failed_download_left_is_filled(published, in_tmp):
    (in_tmp / "data" / "pets").mkdir(parents=True)
    dlw.download_data(published.as_uri(), "pets", verbose=False)

    assert below(in_tmp / "data") == ["pets/train/cat/0.png"]


def test_the_zip_file_is_kept_where_that_is_asked_for(published, in_tmp):
    dlw.download_data(published.as_uri(), "pets", False)

    assert below(in_tmp / "data") == ["pets/train/cat/0.png", "photos.zip"]


@pytest.mark.parametrize("remove_source", [True, False])
def test_a_zip_file_of_the_users_is_used_and_stays(remove_source, published, in_tmp, capsys):
    (in_tmp / "data").mkdir()
    published.rename(in_tmp / "data" / "photos.zip")
    dlw.download_data("https://example.org/photos.zip", "pets", remove_source)

    assert "[INFO] Using data/photos.zip\n" in capsys.readouterr().out
    assert below(in_tmp / "data") == ["pets/train/cat/0.png", "photos.zip"]


def test_data_goes_where_the_environment_says(published, in_tmp, monkeypatch):
    monkeypatch.setenv("DLW_DATA_DIR", str(in_tmp / "elsewhere"))

    assert dlw.download_data(published.as_uri(), "pets") == in_tmp / "elsewhere" / "pets"


def test_downloads_that_are_off_are_one_error(published, monkeypatch):
    monkeypatch.setenv("DLW_OFFLINE", "1")

    with pytest.raises(MissingDataError, match=r"pets is not in 'data' and fetching is off; put file://"):
        dlw.download_data(published.as_uri(), "pets")


def test_the_photos_of_the_course_are_checked_by_the_digest_that_is_known(published, in_tmp, monkeypatch):
    known = Remote(published.as_uri(), published.stat().st_size, "sha256", "0" * 64)
    monkeypatch.setattr(helpers, "PIZZA_STEAK_SUSHI", known)

    with pytest.raises(DataError, match="another sha256"):
        dlw.download_data(published.as_uri(), "pizza_steak_sushi")


def test_a_writer_is_below_the_date_and_printed(in_tmp, capsys):
    pytest.importorskip("tensorboard")
    dlw.create_writer("ten_percent", "effnetb2", "5_epochs").close()

    folder = f"runs/{date.today().isoformat()}/ten_percent/effnetb2/5_epochs"
    assert capsys.readouterr().out == f"[INFO] Created SummaryWriter, saving to: {folder}...\n"
    assert (in_tmp / folder).is_dir()


def test_a_writer_needs_no_extra(in_tmp):
    pytest.importorskip("tensorboard")
    with dlw.create_writer(experiment_name="a", model_name="b") as writer:
        assert writer.log_dir == f"runs/{date.today().isoformat()}/a/b"


def test_what_train_writes_is_read_by_tensorboard(in_tmp):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    data = [(torch.ones(2, 2), torch.tensor([0, 1]))]
    model = nn.Linear(2, 2)
    with dlw.create_writer("a", "b") as writer:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        results = dlw.train(model, data, data, optimizer, epochs=2, writer=writer, verbose=False)

    found = loading.EventAccumulator(f"{writer.log_dir}/Loss_test_loss").Reload().Scalars("Loss")

    assert {event.step: event.value for event in found} == pytest.approx(dict(enumerate(results["test_loss"])))


def test_the_folders_of_a_writer_are_no_runs(in_tmp):
    pytest.importorskip("tensorboard")
    dlw.create_writer("a", "b").close()

    assert dlw.list_runs() == []


def test_without_tensorboard_the_error_says_how_to_get_it(in_tmp, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    with pytest.raises(ConfigError, match=r"not installed; get it with: pip install 'dlworkflow\[tensorboard\]'"):
        dlw.create_writer("a", "b")
