import os

import pytest
import torch

from dlworkflow.data.datasets.image_csv import load_image_csv
from dlworkflow.data.datasets.image_folder import load_image_folder
from dlworkflow.data.datasets.labelled import load_labelled
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.loaders import make_loader
from dlworkflow.errors import DataError, MissingDataError, MissingSplitError

PETS = "train/cat/0.png,cat\ntrain/cat/1.png,cat\ntrain/cat/2.png,cat\ntrain/dog/0.png,dog\ntrain/dog/1.png,dog\n"
SPLIT = "path,label,split\ntrain/cat/0.png,cat,train\ntrain/dog/0.png,dog,train\ntest/dog/1.png,dog,test\n"


@pytest.fixture
def write(pets):
    """Write a CSV file beside the pictures; returns its path."""

    def write_text(text, encoding="utf-8"):
        (pets / "list.csv").write_text(text, encoding=encoding)
        return str(pets / "list.csv")

    return write_text


def test_the_split_column_decides(write):
    splits = load_image_csv(path=write(SPLIT))

    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == ([0, 1], [1])


def test_the_split_column_knows_validation(write):
    splits = load_image_csv(path=write(SPLIT + "test/cat/0.png,cat,Validation\n"))

    assert splits.val.labels.tolist() == [0]


def test_rows_keep_their_order(write):
    rows = "path,label,split\ntrain/dog/1.png,dog,train\ntrain/cat/0.png,cat,train\ntest/dog/1.png,dog,test\n"

    assert load_image_csv(path=write(rows)).train.labels.tolist() == [1, 0]


def test_pictures_are_those_of_the_folder(write, pets):
    listed = load_image_csv(path=write(SPLIT)).test

    assert torch.equal(listed[0][0], load_image_folder(path=str(pets)).test[3][0])


def test_paths_are_relative_to_the_file_not_to_the_working_folder(write, tmp_path, monkeypatch):
    path = write(SPLIT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert len(load_image_csv(path=path).train.batch([0, 1])[0]) == 2


def test_absolute_paths_are_taken_as_they_are(write, pets):
    rows = "".join(f"{pets}/{row}\n" for row in PETS.splitlines())

    assert len(load_image_csv(path=write("path,label\n" + rows), test_fraction=0.4).train) == 3


def test_without_a_split_column_rows_are_cut_by_class(write):
    splits = load_image_csv(path=write("path,label\n" + PETS), test_fraction=0.4)

    assert splits.test.labels.tolist() == [0, 1]


def test_without_a_split_column_rows_are_cut_the_same_every_time(write):
    path = write("path,label\n" + PETS)
    first, second = (load_image_csv(path=path, test_fraction=0.4) for _ in range(2))

    assert first.test.paths == second.test.paths


def test_without_a_split_column_a_label_with_one_row_is_named(write):
    with pytest.raises(DataError, match="class 'eel' has 1 sample"):
        load_image_csv(path=write("path,label\n" + PETS + "train/cat/4.png,eel\n"), test_fraction=0.4)


def test_columns_may_stand_in_any_order_among_others(write):
    rows = "id,label,path,split\n1,cat,train/cat/0.png,train\n2,dog,train/dog/0.png,train\n3,cat,test/cat/0.png,test\n"

    assert load_image_csv(path=write(rows)).classes == ("cat", "dog")


def test_a_byte_order_mark_of_excel_is_no_part_of_the_first_column(write):
    assert len(load_image_csv(path=write(SPLIT, encoding="utf-8-sig")).train) == 2


def test_spaces_around_a_cell_are_no_part_of_it(write):
    rows = "path, label, split\ntrain/cat/0.png, cat, train\ntrain/dog/0.png,dog ,train\ntest/dog/1.png, dog, test\n"

    assert load_image_csv(path=write(rows)).classes == ("cat", "dog")


def test_empty_lines_are_no_rows(write):
    assert len(load_image_csv(path=write(SPLIT + "\n\n")).test) == 1


def test_a_data_set_bears_the_name_of_the_file(write):
    assert load_image_csv(path=write(SPLIT)).name == "list"


@pytest.mark.parametrize(
    ("header", "missing", "found"),
    [
        ("path,class", "'label'", "'path', 'class'"),
        ("a,b", "'label'", "'a', 'b'"),
    ],
)
def test_a_missing_column_is_named_with_those_that_are_there(header, missing, found, write):
    with pytest.raises(DataError, match=rf"list\.csv' lacks the column\(s\) {missing}; it has {found}"):
        load_image_csv(path=write(f"{header}\n{PETS}"))


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "pipes")])
def test_a_list_that_no_comma_separates_is_named(sign, name, write):
    with pytest.raises(DataError, match=rf"list\.csv' separates its columns by {name}.*; separate them by commas"):
        load_image_csv(path=write(SPLIT.replace(",", sign)))


def test_a_list_in_another_encoding_is_named(write):
    with pytest.raises(DataError, match=r"cannot read '.*list\.csv': it is no UTF-8 text; save it as CSV in UTF-8$"):
        load_image_csv(path=write(SPLIT + "train/cat/größe.png,cat,train\n", encoding="latin-1"))


def test_an_empty_file_is_named(write):
    with pytest.raises(DataError, match=r"list\.csv' lacks the column\(s\) 'path', 'label'; it is empty"):
        load_image_csv(path=write(""))


def test_a_file_with_a_header_alone_is_named(write):
    with pytest.raises(DataError, match=r"list\.csv' lists no images"):
        load_image_csv(path=write("path,label\n"))


@pytest.mark.parametrize(
    ("row", "lacks"),
    [
        (",cat,train", "no path"),
        ("train/cat/1.png,,train", "no label"),
        ("train/cat/1.png,cat,", "no split"),
        ("train/cat/1.png", "no label and no split"),
        ("train/cat/1.png, ,train", "no label"),
    ],
)
def test_an_empty_cell_is_named_by_its_line(row, lacks, write):
    with pytest.raises(DataError, match=rf"list\.csv' line 5: {lacks}$"):
        load_image_csv(path=write(f"{SPLIT}{row}\n"))


@pytest.mark.parametrize("row", ["train/dog/0.png,dog, small", "train/dog/0.png,dog,train,x", 'a.png,"dog,1",train,x'])
def test_a_cell_too_many_is_refused_with_its_line_and_what_to_quote(row, write):
    text = (
        SPLIT if row.count(",") > 2 else "path,label\ntrain/cat/0.png,cat\ntrain/cat/1.png,cat\ntrain/cat/2.png,cat\n"
    )

    with pytest.raises(DataError, match=r"list\.csv' line 5: \d cells, where line 1 has \d; quote a cell"):
        load_image_csv(path=write(f"{text}{row}\n"))


def test_empty_cells_after_the_last_column_are_nothing(write):
    assert load_image_csv(path=write(SPLIT.replace("train\n", "train,,\n"))).classes == ("cat", "dog")


def test_a_quoted_label_keeps_its_comma_whatever_space_stands_before_it(write):
    rows = SPLIT.replace("cat,train", ' "cat, small",train')

    assert load_image_csv(path=write(rows)).classes == ("cat, small", "dog")


def test_a_quote_that_nothing_closes_swallows_no_lines(write):
    with pytest.raises(DataError, match=r"list\.csv': line 5: unexpected end of data"):
        load_image_csv(path=write(SPLIT + 'train/cat/1.png,"cat,train\ntrain/cat/2.png,cat,train\n'))


def test_two_columns_of_one_name_are_refused(write):
    with pytest.raises(DataError, match=r"list\.csv' has more than one column named 'label'; rename or remove one"):
        load_image_csv(path=write("path,label,split,label\ntrain/cat/0.png,cat,train,dog\n"))


def test_a_column_without_a_name_as_pandas_writes_its_index_is_left_alone(write):
    rows = "".join(f"{number},{line}\n" for number, line in enumerate(SPLIT.splitlines()[1:]))

    assert load_image_csv(path=write(f",path,label,split\n{rows}")).classes == ("cat", "dog")


def test_a_line_is_counted_as_an_editor_does_whatever_is_quoted_above_it(write):
    with pytest.raises(DataError, match=r"line 7: no label"):
        load_image_csv(
            path=write('path,label,note\n\ntrain/cat/0.png,cat,"two\nlines\nand more"\n\ntrain/cat/1.png,,x\n')
        )


def test_paths_with_backslashes_are_answered_with_a_hint(write):
    with pytest.raises(MissingDataError, match=r"not there: .*; write / between folders, not \\$"):
        load_image_csv(path=write(SPLIT + "train\\cat\\1.png,cat,train\n"))


def test_a_pipe_is_no_csv_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "list.csv")

    with pytest.raises(DataError, match="not a regular file"):
        load_image_csv(path=str(tmp_path / "list.csv"))


def test_a_picture_that_is_not_there_is_named(write):
    with pytest.raises(MissingDataError, match=r"list\.csv' lists files that are not there: '.*train/cat/none\.png'$"):
        load_image_csv(path=write(SPLIT + "train/cat/none.png,cat,train\n"))


def test_many_pictures_that_are_not_there_are_counted_and_the_first_named(write):
    rows = "".join(f"none{number},cat,train\n" for number in range(13))

    with pytest.raises(MissingDataError, match=r"none0', .*none\d' and \d+ more$"):
        load_image_csv(path=write(SPLIT + rows))


def test_a_csv_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"data\.path: no file '.*none\.csv'"):
        load_image_csv(path=str(tmp_path / "none.csv"))


def test_a_folder_is_no_csv(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        load_image_csv(path=str(tmp_path))


def test_a_picture_is_no_csv(pets):
    with pytest.raises(DataError, match=r"cannot read '.*0\.png'"):
        load_image_csv(path=str(pets / "train" / "cat" / "0.png"))


def test_an_unknown_split_is_named_by_its_line(write):
    with pytest.raises(DataError, match=r"list\.csv' line 5: split 'exam' is none of train, test, val"):
        load_image_csv(path=write(SPLIT + "test/dog/0.png,dog,exam\n"))


def test_a_list_of_train_and_val_alone_is_read_as_such_a_folder_is(write):
    splits = load_image_csv(path=write(SPLIT.replace(",test", ",val")))

    assert (splits.val, len(splits.test)) == (None, 1)
    assert any("no split 'test'" in note and "'val' is used as the test split" in note for note in splits.notes)


def test_a_class_that_no_row_of_the_test_split_has_is_noted(write):
    assert load_image_csv(path=write(SPLIT)).notes == ("split 'test' has no images of 'cat'",)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_column_without_training_or_test_is_refused(split, write):
    rows = [row for row in SPLIT.splitlines() if not row.endswith(f",{split}")]

    with pytest.raises(DataError, match=rf"list\.csv': column 'split' names no row '{split}'"):
        load_image_csv(path=write("\n".join(rows)))


def test_a_list_to_score_without_the_split_names_those_that_it_has(write):
    with pytest.raises(MissingSplitError, match=r"list\.csv' has no split 'val'; it has train, test"):
        load_labelled(write(SPLIT), ["cat", "dog"], Pipeline((8, 8)), 3, split="val")


def test_a_label_that_training_lacks_is_refused_with_both_lists(write):
    with pytest.raises(DataError, match=r"only in '.*\(test\)': 'eel'; .*\(train\)' has 'cat', 'dog', .* 'dog', 'eel'"):
        load_image_csv(path=write(SPLIT + "test/dog/0.png,eel,test\n"))


@pytest.mark.parametrize("row", ["train/cat/0.png,cat,test", "test/../train/cat/0.png,cat,test"])
def test_a_file_in_training_and_test_is_told_with_its_name(row, write, pets):
    note = load_image_csv(path=write(f"{SPLIT}{row}\n")).notes[-1]

    assert note.startswith(f"1 file(s) are in several splits, such as '{pets}/train/cat/0.png' in train and test")


def test_a_file_that_is_cut_into_training_and_test_is_told(write):
    assert "in train and test" in load_image_csv(path=write("path,label\n" + 2 * PETS)).notes[0]


def test_a_cut_that_is_asked_for_though_there_is_a_split_column_is_told(write):
    splits = load_image_csv(path=write(SPLIT), test_fraction=0.4)

    assert splits.notes[0].partition(":")[0] == "data.test_fraction is not used"


def test_a_file_twice_in_training_is_nothing_to_tell(write):
    twice = load_image_csv(path=write(SPLIT + "train/cat/0.png,cat,train\n")).notes

    assert twice == load_image_csv(path=write(SPLIT)).notes


def test_a_file_with_two_labels_is_refused_with_both(write):
    with pytest.raises(DataError, match=r"cat/0\.png' has two labels, 'cat' and 'dog'; an image has one"):
        load_image_csv(path=write(SPLIT + "train/cat/0.png,dog,test\n"))


def test_labels_of_two_splits_are_matched_whatever_their_unicode_form(write):
    nfc, nfd = "caf\u00e9", "cafe\u0301"

    splits = load_image_csv(path=write(SPLIT.replace("cat,train", f"{nfd},train") + f"test/cat/0.png,{nfc},test\n"))

    assert (splits.classes, splits.test.labels.tolist()) == ((nfc, "dog"), [1, 0])


def test_two_forms_of_one_label_in_a_split_are_refused(write):
    rows = "train/cat/1.png,caf\u00e9,train\ntrain/cat/2.png,cafe\u0301,train\n"

    with pytest.raises(DataError, match=r"two classes that look the same, 'caf\\xe9' and 'cafe\\u0301'"):
        load_image_csv(path=write(SPLIT + rows))


def test_one_label_is_refused(write):
    with pytest.raises(DataError, match="has one class, 'cat'"):
        load_image_csv(path=write("path,label\ntrain/cat/0.png,cat\ntrain/cat/1.png,cat\n"), test_fraction=0.5)


def test_loading_and_reading_leaves_the_users_files_alone(write, pets, state_of):
    path = write(SPLIT)
    before = state_of(pets)
    list(make_loader(load_image_csv(path=path, transform="flip").train, 2, shuffle=True))

    assert state_of(pets) == before


def test_unreadable_pictures_of_a_list_are_left_out_when_asked_for(write, pets):
    (pets / "train" / "cat" / "1.png").write_bytes(b"")
    path = write(SPLIT + "train/cat/1.png,cat,train\n")

    splits = load_image_csv(path=path, on_bad="skip")
    assert (splits.train.labels.tolist(), splits.skipped) == ([0, 1], {"train": 1})


def test_a_listed_file_that_is_not_there_is_an_error_all_the_same(write):
    with pytest.raises(MissingDataError, match="none"):
        load_image_csv(path=write(SPLIT + "train/cat/none.png,cat,train\n"), on_bad="skip")


def test_a_listed_name_that_no_file_can_have_is_named(write):
    with pytest.raises(MissingDataError, match=r"lists files that are not there: '.*xxx"):
        load_image_csv(path=write(SPLIT + f"{'x' * 300}.png,cat,train\n"))


BY_PATIENT = "path,label,patient\n" + "".join(
    f"train/{name}/{number}.png,{name},{patient}\n"
    for name, number, patient in (
        *(("cat", 0, "p1"), ("cat", 1, "p1"), ("cat", 2, "p2"), ("cat", 3, "p3")),
        *(("dog", 0, "p1"), ("dog", 1, "p2"), ("dog", 2, "p4"), ("dog", 3, "p4")),
    )
)


def test_images_of_a_group_stay_in_one_split(write):
    splits = load_image_csv(path=write(BY_PATIENT), group="patient", test_fraction=0.5)

    assert sorted({*splits.train.groups} | {*splits.test.groups}) == ["p1", "p2", "p3", "p4"]
    assert not {*splits.train.groups} & {*splits.test.groups}


def test_a_group_in_two_splits_of_the_column_is_named(write):
    rows = "path,label,patient,split\n" + "".join(
        f"{row},{'test' if number % 4 == 0 else 'train'}\n" for number, row in enumerate(BY_PATIENT.splitlines()[1:])
    )

    with pytest.raises(DataError, match=r"group\(s\) 'p1' are in train and in test"):
        load_image_csv(path=write(rows), group="patient")


def test_a_group_column_that_is_not_there_is_named(write):
    with pytest.raises(DataError, match=r"lacks the column\(s\) 'patiant'; it has 'path', 'label', 'patient'"):
        load_image_csv(path=write(BY_PATIENT), group="patiant")


def test_an_image_of_two_groups_is_named(write):
    rows = BY_PATIENT + "train/dog/3.png,dog,p3\n"

    with pytest.raises(DataError, match=r"line 10: 'train/dog/3.png' is of patient 'p3', and of 'p4' in another line"):
        load_image_csv(path=write(rows), group="patient")
