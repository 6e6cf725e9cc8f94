"""Readers, the split that does not leak, duplicates, and batches."""

import sys
import threading
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines import DataError, ParameterError, data

from ..conftest import SHARED


def touch(root, *names, content=b""):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


# --- folder -----------------------------------------------------------------------------------------------------------


def test_folder_gives_paths_and_class_names(tmp_path):
    touch(tmp_path, "dog/2.jpg", "cat/b/1.JPG", "cat/a.png")
    X, y = data.folder(tmp_path)
    assert [str(tmp_path / name) for name in ("cat/a.png", "cat/b/1.JPG", "dog/2.jpg")] == X
    assert y == ["cat", "cat", "dog"]


def test_folder_leaves_out_hidden_files_clutter_and_loose_files(tmp_path):
    touch(tmp_path, "cat/1.jpg", "cat/.hidden.jpg", "cat/.git/2.jpg", "cat/Thumbs.db", ".cache/3.jpg", "readme.txt")
    assert data.folder(str(tmp_path)) == ([str(tmp_path / "cat/1.jpg")], ["cat"])


def test_folder_below_a_hidden_one_is_read(tmp_path):
    touch(tmp_path, ".data/photos/cat/1.jpg")
    assert data.folder(tmp_path / ".data" / "photos")[1] == ["cat"]


def test_folder_keeps_the_suffixes_asked_for_whatever_their_case(tmp_path):
    touch(tmp_path, "cat/1.JPG", "cat/2.txt")
    assert data.folder(tmp_path, suffixes=(".jpg",))[0] == [str(tmp_path / "cat/1.JPG")]
    with pytest.raises(DataError, match=r"No file ending in \.gif"):
        data.folder(tmp_path, suffixes=[".gif"])


def test_folder_that_cannot_be_read_is_named(tmp_path):
    touch(tmp_path, "file", "flat/1.jpg")
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=r"nowhere does not exist\. Check the path"):
        data.folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file"):
        data.folder(tmp_path / "file")
    with pytest.raises(DataError, match=r"has no sub-folders\. Expected one sub-folder per class"):
        data.folder(tmp_path / "flat")
    with pytest.raises(DataError, match="No file was found in the 1 sub-folders"):
        data.folder(tmp_path / "empty")


def test_files_lists_all_below(tmp_path):
    touch(tmp_path, "b.jpg", "a/c.jpg", ".x")
    assert data.files(tmp_path) == [str(tmp_path / "a/c.jpg"), str(tmp_path / "b.jpg")]


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_pairs_match_by_stem(tmp_path):
    touch(tmp_path, "image/10.jpg", "image/deep/9.jpg", "mask/9.png", "mask/10.tif")
    X, y = data.pairs(tmp_path / "image", tmp_path / "mask")
    assert [x.rpartition("/")[2] for x in X] == ["10.jpg", "9.jpg"]
    assert [x.rpartition("/")[2] for x in y] == ["10.tif", "9.png"]


def test_pairs_name_the_lonely_the_double_and_the_missing(tmp_path):
    touch(tmp_path, "image/1.jpg", "image/2.jpg", "mask/2.png", "double/2.png", "double/2.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"1 files have no partner.*image/1\.jpg"):
        data.pairs(tmp_path / "image", tmp_path / "mask")
    with pytest.raises(DataError, match="share the stem '2'"):
        data.pairs(tmp_path / "image", tmp_path / "double")
    with pytest.raises(DataError, match="does not exist"):
        data.pairs(tmp_path / "image", tmp_path / "nowhere")
    with pytest.raises(DataError, match="hold no files"):
        data.pairs(tmp_path / "empty", tmp_path / "empty")


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl"])
def test_table_reads_every_format_alike(tmp_path, ending):
    frame = pd.DataFrame({"text": ["good, very", "bäd"], "label": [1, 0]})
    path = tmp_path / f"t.{ending}"
    writers = {
        "csv": lambda: frame.to_csv(path, index=False),
        "tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        "json": lambda: frame.to_json(path),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
    }
    writers[ending]()
    assert data.table(path, x="text", y="label") == (["good, very", "bäd"], [1, 0])


def test_table_with_several_columns_gives_a_frame_and_without_labels_none(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    X, y = data.table(tmp_path / "t.csv", x=["b", "a"])
    assert X.columns.tolist() == ["b", "a"]
    assert y is None


def test_table_completes_paths_beside_it_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    touch(tmp_path, "img/1.png")
    (tmp_path / "t.csv").write_text(f"path\nimg/1.png\n{tmp_path}/img/1.png\nimg/2.png\nplain text\n")
    X, _ = data.table(tmp_path / "t.csv", x="path")
    assert [str(tmp_path / "img/1.png")] * 2 + ["img/2.png", "plain text"] == X


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"", "is no table this reader knows; expected a file ending in .csv"),
        ("t.csv", None, "does not exist"),
        ("t.csv", b"", "cannot be read as CSV"),
        ("t.csv", b"a,b\n", "holds no rows"),
        ("t.csv", b'a,b\n"1,2\n', "cannot be read as CSV"),
        ("t.csv", b"\xff\xfe\x00a", "cannot be read as CSV"),
        ("t.json", b"{", "cannot be read as JSON"),
        ("t.json", b"7", "cannot be read as JSON"),
        ("t.json", b'"x"', "cannot be read as JSON"),
        ("t.jsonl", b"no json", "cannot be read as JSONL"),
        ("t.csv", b"pixels\n1\n", "has no column 'path'"),
    ],
)
def test_table_that_cannot_be_read_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.table(tmp_path / name, x="path")


def test_parquet_without_its_package_gives_the_pip_line(tmp_path, monkeypatch):
    for name in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    touch(tmp_path, "t.parquet")
    with pytest.raises(ImportError, match="pip install pyarrow"):
        data.table(tmp_path / "t.parquet", x="text")


def test_several_columns_of_labels_give_a_frame(tmp_path):
    (tmp_path / "t.csv").write_text("path,red,big\na,1,0\nb,1,1\n")
    X, y = data.table(tmp_path / "t.csv", x="path", y=["big", "red"])
    assert X == ["a", "b"]
    assert y.to_dict("list") == {"big": [0, 1], "red": [1, 1]}


def test_mistyped_column_gets_a_suggestion(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,1\n")
    with pytest.raises(DataError, match=r"no column 'lable'\. Did you mean 'label'\?"):
        data.table(tmp_path / "t.csv", x="text", y="lable")


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl"])
def test_texts_stay_as_they_are_written(tmp_path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)
    cells = [
        "NA",
        "None",
        "007",
        "1e5",
        "True",
        " nan ",
        'He said "no", then left',
        "2024-01-01",
        "photo.png",
        "t.csv",
        "😀 שלום",
    ]
    frame = pd.DataFrame({"date": cells, "label": ["NA", "null"] * 5 + ["None"]})
    path = tmp_path / f"t.{ending}"
    writers = {
        "csv": lambda: frame.to_csv(path, index=False),
        "tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        "json": lambda: frame.to_json(path),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
    }
    writers[ending]()
    touch(tmp_path, "photo.png", "deep/photo.png")
    X, y = data.texts(path, x="date", y="label")
    assert cells == X
    assert all(type(text) is str for text in X)
    assert y == frame["label"].tolist()


def test_texts_that_are_names_of_files_beside_the_table_are_no_paths(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    touch(tmp_path, "good")
    (tmp_path / "t.csv").write_text("text,label\ngood,1\nbad,0\n")
    assert data.texts(tmp_path / "t.csv", x="text")[0] == ["good", "bad"]
    assert data.table(tmp_path / "t.csv", x="text")[0] == [str(tmp_path / "good"), "bad"]  # which is for images


def test_texts_of_two_columns_are_pairs(tmp_path):
    (tmp_path / "t.csv").write_text("question,answer,label\nwhy?,so,1\n1,2,0\n")
    X, y = data.texts(str(tmp_path / "t.csv"), x=["question", "answer"], y="label")
    assert X == [("why?", "so"), ("1", "2")]
    assert y == [1, 0]
    assert data.texts(tmp_path / "t.csv", x=["answer"])[0] == ["so", "2"]


def test_texts_of_a_folder_are_what_its_files_say(tmp_path):
    touch(tmp_path, "pos/1.txt", content="\ufeffgut, größer\r\n".encode())
    touch(tmp_path, "neg/b/37261", content=b"bad")  # as in the 20 newsgroups
    touch(tmp_path, "neg/.hidden", "readme.txt", content=b"\xff")
    assert data.texts(tmp_path) == (["bad", "gut, größer\n"], ["neg", "pos"])


def test_label_columns_may_be_several(tmp_path):
    (tmp_path / "t.csv").write_text("text,red,big\na,1,0\nb,1,1\n")
    assert data.texts(tmp_path / "t.csv", x="text", y=["big", "red"])[1].to_dict("list") == {"big": [0, 1], "red": [1, 1]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"text,label\na,1\n,0\n", r"text of row 1 of .*t\.csv, in the column 'text', is empty\. Drop the row"),
        ("t.csv", b"text,label\na,1\nb,\n", r"Row 1 of .*t\.csv has no label in the column 'label'"),
        ("t.json", b'[{"text": "a", "label": 1}, {"text": null, "label": 0}]', "text of row 1 .* is empty"),
        ("t.json", b'[{"text": "a", "label": 1}, {"text": 5, "label": 0}]', "text of row 1 .* is 5, a int"),
        ("t.jsonl", b'{"text": "a", "label": 1}\n{"text": ["b"], "label": 0}', r"text of row 1 .* is \['b'\], a list"),
        ("t.csv", b"txt,label\na,1\n", r"no column 'text'\. Did you mean 'txt'"),
        ("t.csv", b"text,lable\na,1\n", r"no column 'label'\. Did you mean 'lable'"),
        ("t.csv", b"text,label\ngut gr\xf6\xdfer,1\n", "cannot be read as CSV: .*Save it as UTF-8"),
        ("t.csv", b"text,label\ngood, very,1\nbad, very,0\n", "more cells than its header"),
        ("t.csv", b"text,label\ngood,1\nbad, very,0\n", "cannot be read as CSV"),
        ("t.csv", b"text,label\n", "holds no rows"),
        ("t.xlsx", b"", "is no table this reader knows"),
    ],
)
def test_texts_that_cannot_be_read_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.texts(tmp_path / name, x="text", y="label")


def test_file_that_is_no_text_is_named(tmp_path):
    touch(tmp_path, "pos/1.txt", content=b"good")
    touch(tmp_path, "neg/2.txt", content=b"gr\xf6sser")
    with pytest.raises(DataError, match=r"neg/2\.txt is no text in UTF-8: byte 2 is 0xf6\. Save it as UTF-8"):
        data.texts(tmp_path)
    with pytest.raises(DataError, match=r"nowhere\.txt cannot be read: No such file"):
        data.read_text(tmp_path / "nowhere.txt")


def test_columns_of_texts_are_asked_for(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n")
    for x in (None, [], ["a", "b", "c"]):
        with pytest.raises(ParameterError, match="x must be the column with the texts, or two for pairs"):
            data.texts(tmp_path / "t.csv", x=x)
    with pytest.raises(ParameterError, match="is a folder, whose texts and labels are no columns"):
        data.texts(tmp_path, x="a")
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        data.texts(tmp_path / "nowhere.csv", x="a")


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('"I came home.\t1\nHe left."\t0\n', ['"I came home.', 'He left."']),  # a quote over two lines would swallow one
        ('"Heat" is good\t1\n5" wide\t0\n', ['"Heat" is good', '5" wide']),
        ('"Heat"\t1\nand "Ran" too\t0\n', ['"Heat"', 'and "Ran" too']),
        ('"never closed\t1\nnext\t0\n', ['"never closed', "next"]),
        ('"he said ""no"""\t1\nplain\t0\n', ['he said "no"', "plain"]),
        ('"two\nlines"\t1\n"a\ttab"\t0\n', ["two\nlines", "a\ttab"]),
        ('"two\r\nlines"\t1\r\nplain\t0\r\n', ["two\r\nlines", "plain"]),
        ("no quotes\t1\nat all\t0\n", ["no quotes", "at all"]),
    ],
)
def test_quotes_in_tsv_swallow_no_lines(tmp_path, content, texts):
    (tmp_path / "t.tsv").write_bytes(b"text\tlabel\n" + content.encode())
    assert data.texts(tmp_path / "t.tsv", x="text", y="label") == (texts, [1, 0])
    assert data.table(tmp_path / "t.tsv", x="text", y="label") == (texts, [1, 0])


@pytest.mark.parametrize("quoting", [0, 1, 2])  # where needed, all, all but numbers
def test_tsv_written_by_pandas_comes_back(tmp_path, quoting):
    frame = pd.DataFrame({"text": ['"', 'a "b"\nc', "tab\t", "plain", '""', "x" * 200_000], "label": [0, 1] * 3})
    frame.to_csv(tmp_path / "t.tsv", sep="\t", index=False, quoting=quoting)
    assert data.texts(tmp_path / "t.tsv", x="text", y="label") == (frame["text"].tolist(), [0, 1] * 3)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "x", "y", "n"),
    [
        ("sst2/train.tsv", "sentence", "label", 6920),
        ("banking77/train.csv", "text", "category", 10_003),
        ("sms_spam/sms_spam.csv", "text", "label", 5574),
        ("multi30k_en_de/train.tsv", "en", None, 6000),
    ],
)
def test_well_known_tables_lose_no_row(name, x, y, n):
    assert len(data.texts(SHARED / "nlp" / name, x=x, y=y)[0]) == n


def test_series_has_times_as_index_in_the_files_order(tmp_path):
    (tmp_path / "s.csv").write_text("day,load,wind\n2024-01-02,4,1\n2024-01-01,3,2\n")
    X, y = data.series(tmp_path / "s.csv", time="day", value=["wind", "load"])
    assert y is None
    assert X.columns.tolist() == ["wind", "load"]
    assert X.index.tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-01")]


def test_unreadable_time_is_named_by_row(tmp_path):
    (tmp_path / "s.csv").write_text("day,load\n2024-01-02,4\nsoon,3\n")
    with pytest.raises(DataError, match=r"Row 1 .* no readable time in column 'day': 'soon'"):
        data.series(tmp_path / "s.csv", time="day", value="load")


def test_series_takes_all_other_columns_where_none_are_named(tmp_path):
    (tmp_path / "s.csv").write_text("load,day,store\n4,2024-01-02,x\n3,2024-01-03,y\n")
    assert data.series(tmp_path / "s.csv", time="day")[0].columns.tolist() == ["load", "store"]


def test_years_are_times_and_other_numbers_are_not(tmp_path):
    (tmp_path / "s.csv").write_text("year,seconds,load\n1950,1700000000,4\n1951,1700003600,3\n")
    assert data.series(tmp_path / "s.csv", time="year", value="load")[0].index.year.tolist() == [1950, 1951]
    with pytest.raises(DataError, match=r"column 'seconds' of .* holds numbers, 1700000000 for one; expected dates"):
        data.series(tmp_path / "s.csv", time="seconds", value="load")


def test_times_of_several_offsets_are_refused(tmp_path):
    (tmp_path / "s.csv").write_text("day,load\n2024-03-30T00:00+01:00,4\n2024-03-31T12:00+02:00,3\n")
    with pytest.raises(DataError, match=r"column 'day' of .* cannot be read as time"):
        data.series(tmp_path / "s.csv", time="day", value="load")


# --- split ------------------------------------------------------------------------------------------------------------


def test_split_keeps_proportions_pairs_and_every_sample():
    X = [f"x{i}" for i in range(100)]
    y = ["a"] * 80 + ["b"] * 20
    X_train, X_test, y_train, y_test = data.split(X, y, test=0.25)
    assert sorted(X_train + X_test) == sorted(X)
    assert Counter(y_test) == {"a": 20, "b": 5}
    truth = dict(zip(X, y, strict=True))
    assert [truth[x] for x in X_test] == y_test
    assert [truth[x] for x in X_train] == y_train


def test_split_depends_on_the_seed_alone():
    X, y = list(range(50)), [0, 1] * 25
    assert data.split(X, y, seed=1) == data.split(X, y, seed=1)
    assert data.split(X, y, seed=1) != data.split(X, y, seed=2)


def test_split_keeps_the_kind_of_its_input():
    frame = pd.DataFrame({"a": range(10)}, index=range(100, 110))
    X_train, X_test, y_train, y_test = data.split(frame, pd.Series([0, 1] * 5, index=frame.index), test=0.4)
    assert isinstance(X_train, pd.DataFrame)
    assert isinstance(y_test, pd.Series)
    assert X_test.index.equals(y_test.index)
    X_train, X_test, y_train, y_test = data.split(np.zeros((10, 2, 2)) + np.arange(10)[:, None, None], None, test=0.4)
    assert (X_train.shape, X_test.shape, y_train, y_test) == ((6, 2, 2), (4, 2, 2), None, None)


def test_class_with_a_single_sample_stays_in_training():
    for seed in range(10):
        _, _, y, y_test = data.split(list(range(21)), ["a"] * 10 + ["b"] * 10 + ["c"], test=0.5, seed=seed)
        assert "c" in y
        assert "c" not in y_test


def test_many_small_classes_still_give_the_share_asked_for():
    y = [i % 100 for i in range(400)]  # four samples a class: a tenth of each rounds to none
    _, _, y_train, y_test = data.split(list(range(400)), y, test=0.1)
    assert len(y_test) == 40
    assert max(Counter(y_test).values()) == 1
    assert set(y_train) == set(y)


def test_unique_texts_are_split_without_regard_to_them():
    _, _, _, y_test = data.split(list(range(30)), [f"transcript {i}" for i in range(28)] + ["yes", "yes"], test=0.2)
    assert len(y_test) == 6


def test_no_class_is_lost_from_training_where_most_have_few_samples():
    y = [f"many {i}" for i in range(10)] * 2 + [f"single {i}" for i in range(20)]
    for seed in range(10):
        _, _, y_train, _ = data.split(list(range(40)), y, test=0.2, seed=seed)
        assert set(y_train) == set(y)


def test_exact_copies_stay_on_one_side(tmp_path):
    files = []
    for i in range(40):
        touch(tmp_path, f"{i}.bin", content=b"%d" % (i % 20))
        files.append(str(tmp_path / f"{i}.bin"))
    arrays = [np.full((2, 2), i % 20) for i in range(40)]
    texts = [f"text {i % 20}" for i in range(40)]
    for X in (files, arrays, texts, np.stack(arrays)):
        y = [i % 2 for i in range(40)]
        train, test, _, _ = data.split(X, y, test=0.25)
        assert len(test) == 10
        assert not data.duplicated(test, train).any()


def test_copies_that_fill_a_class_leave_something_to_learn_from():
    X = ["same"] * 10 + [f"other {i}" for i in range(10)]
    _train, _test, y, y_test = data.split(X, ["a"] * 10 + ["b"] * 10, test=0.2)
    assert set(y) == {"a", "b"}
    assert set(y_test) == {"b"}


def test_only_copies_cannot_be_split_and_the_message_says_so():
    with pytest.raises(DataError, match="copies"):
        data.split(["white"] * 15 + ["black"] * 15, [0] * 15 + [1] * 15)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.5, 0.75])
def test_groups_stay_on_one_side(share):
    groups = [f"patient {i % 20}" for i in range(100)]
    y = [i % 2 for i in range(100)]
    X, X_test, _, y_test = data.split(list(range(100)), y, groups=groups, test=share)
    assert not {groups[i] for i in X} & {groups[i] for i in X_test}
    assert len(X) + len(X_test) == 100
    assert abs(len(X_test) / 100 - share) <= 0.1
    assert set(y_test) == {0, 1}


def test_groups_with_fewer_samples_a_class_than_folds():
    X, X_test, _y, _y_test = data.split(list(range(8)), ["a", "b", "c", "d"] * 2, groups=list("stuvwxyz"), test=0.2)
    assert len(X) + len(X_test) == 8
    assert X_test


@pytest.mark.parametrize("share", [0.01, 0.4, 0.6, 0.9])
def test_two_groups_leave_one_on_each_side(share):
    X, X_test, _, _ = data.split(list(range(200)), groups=["a", "b"] * 100, test=share)
    assert (len(X), len(X_test)) == (100, 100)


def test_groups_with_a_rare_class_raise_no_warning():
    data.split(list(range(20)), ["a"] * 19 + ["b"], groups=[i // 2 for i in range(20)], test=0.2)


def test_groups_and_copies_together_do_not_leak():
    X = [f"text {i % 10}" for i in range(40)]  # the same texts occur in several groups
    train, test, _, _ = data.split(X, [i % 2 for i in range(40)], groups=[i // 2 for i in range(40)], test=0.25)
    assert not data.duplicated(test, train).any()


def test_ordered_split_takes_the_end():
    X, X_test, _y, y_test = data.split(list(range(10)), list("abcdefghij"), test=0.3, ordered=True)
    assert (X_test, y_test) == ([7, 8, 9], ["h", "i", "j"])
    assert list(range(7)) == X


@pytest.mark.parametrize("kind", [pd.Series, pd.DataFrame])
@pytest.mark.parametrize(
    "index", [pd.date_range("2024-01-01", periods=10, freq="D"), pd.period_range("2024-01", periods=10, freq="M")]
)
def test_time_series_are_cut_in_order_without_being_asked(kind, index):
    X = kind(np.arange(10.0), index)
    train, test, _, _ = data.split(X, test=0.3)
    assert train.index.append(test.index).equals(index)
    assert len(test) == 3
    assert data.split(X, test=0.3, ordered=True)[1].equals(test)


def test_shuffling_a_time_series_is_refused():
    X = pd.Series(np.arange(10.0), pd.date_range("2024-01-01", periods=10, freq="D"))
    with pytest.raises(DataError, match="lets the future into training"):
        data.split(X, ordered=False)
    with pytest.raises(DataError, match=r"not sorted by time.*sort_index"):
        data.split(X[::-1])
    assert len(data.split(X.reset_index(drop=True), ordered=False)[1]) == 2


def test_rows_that_carry_time_are_samples_where_they_have_labels_or_groups():
    X = pd.DataFrame({"a": np.arange(20.0)}, pd.date_range("2024-01-01", periods=20, freq="D"))
    _, test, _, y_test = data.split(X, [0, 1] * 10, test=0.2)
    assert sorted(y_test) == [0, 0, 1, 1]
    assert list(test.index) != list(X.index[-4:])
    _, test, _, _ = data.split(X, groups=["a", "b", "c", "d"] * 5, test=0.25)
    assert len(test) == 5
    with pytest.raises(DataError, match="cannot be combined"):
        data.split(X, groups=["a", "b"] * 10, ordered=True)


def test_multilabel_and_measured_targets_can_be_split():
    _, _, _, y_test = data.split(list(range(40)), np.eye(4)[[0, 1, 2, 3] * 10], test=0.25)
    assert y_test.shape == (10, 4)
    _, _, _, y_test = data.split(list(range(40)), np.linspace(0, 1, 40), test=0.25)
    assert len(y_test) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": [], "y": []}, "X is empty"),
        ({"X": [1, 2], "y": [1]}, "X has 2 and y has 1"),
        ({"X": [1, 2, 3], "y": [0, 1, 0], "test": 0.0}, "leaves one part empty"),
        ({"X": [1, 2, 3], "y": [0, 1, 0], "test": 1.0}, "leaves one part empty"),
        ({"X": [1, 2, 3], "y": [0, 1, 0], "test": 1.5}, "test must be a number from 0 to 1"),
        ({"X": [1, 2, 3], "y": [0, 1, 0], "test": True}, "test must be a number"),
        ({"X": [1, 2, 3, 4], "groups": [1, 1, 1, 1], "test": 0.5}, "one group only"),
        ({"X": [1, 2, 3, 4], "groups": [1, 2], "test": 0.5}, "has 2 for 4 samples"),
        ({"X": [1, 2, 3, 4], "groups": [1, 1, 2, 2], "ordered": True, "test": 0.5}, "cannot be combined"),
        ({"X": ["x", "x", "x", "x"], "groups": [1, 1, 2, 2], "test": 0.5}, "tie all groups together"),
    ],
)
def test_what_cannot_be_split_is_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        data.split(**arguments)


# --- duplicates -------------------------------------------------------------------------------------------------------


def test_copies_are_told_from_lookalikes(tmp_path):
    touch(tmp_path, "a.png", "b.png", content=b"same")
    assert data.duplicated([str(tmp_path / "a.png")], [tmp_path / "b.png"]).tolist() == [True]
    assert data.duplicated([np.zeros((2, 3))], [np.zeros((3, 2))]).tolist() == [False]
    assert data.duplicated([np.zeros(4, np.uint8)], [np.zeros(1, np.uint32)]).tolist() == [False]
    assert data.duplicated(["1"], [1]).tolist() == [False]
    long = np.zeros(5000)  # of which repr shows the ends only
    for wrap in (lambda x: (x, [1, 1]), lambda x: {"array": x, "spacing": 2}, lambda x: [x]):
        other = long.copy()
        other[2500] = 1
        assert data.duplicated([wrap(long), wrap(other)], [wrap(long.copy())]).tolist() == [True, False]
    assert data.duplicated(pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [2, 3]})).tolist() == [False, True]


def test_images_that_differ_in_their_palette_are_no_copies():
    red, blue = (Image.new("P", (2, 2)) for _ in range(2))
    red.putpalette([255, 0, 0])
    blue.putpalette([0, 0, 255])
    assert data.duplicated([red], [blue]).tolist() == [False]
    assert data.duplicated([red], [red.copy()]).tolist() == [True]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_batches_hold_every_sample_once_with_its_target():
    batches = data.Batches(lambda rows: rows * 10, 10, 4, targets=np.arange(10), seed=3)
    parts = [batches[i] for i in range(len(batches))]
    assert [len(inputs) for inputs, _ in parts] == [4, 4, 2]
    inputs, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert np.array_equal(inputs, targets * 10)
    assert sorted(targets) == list(range(10))
    assert targets.tolist() != list(range(10))


def test_batches_are_shuffled_anew_each_epoch_and_alike_for_a_seed():
    batches, again = (data.Batches(lambda rows: rows, 30, 30, seed=3) for _ in range(2))
    orders = []
    for epoch in range(3):
        batches.start_epoch(epoch)
        orders.append(batches[0][0].tolist())
    again.start_epoch(2)
    assert again[0][0].tolist() == orders[2]
    assert len({tuple(order) for order in orders}) == 3


def test_batches_without_a_seed_keep_the_order_and_iterate():
    batches = data.Batches(lambda rows: rows, 5, 2)
    batches.start_epoch(4)
    assert [inputs.tolist() for inputs, targets in batches] == [[0, 1], [2, 3], [4]]
    for i in (-1, 3):
        with pytest.raises(IndexError):
            batches[i]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_prefetch_keeps_the_order_and_reads_each_batch_once(workers):
    reads, lock = [], threading.Lock()

    def read(rows):
        time.sleep(0.001 * (rows[0] % 3))
        with lock:
            reads.append(int(rows[0]))
        return rows

    found = [inputs for inputs, _ in data.prefetch(data.Batches(read, 25, 2, workers=workers))]
    assert np.concatenate(found).tolist() == list(range(25))
    assert sorted(reads) == list(range(0, 25, 2))


def test_prefetch_reads_no_further_ahead_than_its_workers():
    reads = []

    def read(rows):
        reads.append(int(rows[0]))
        return rows

    batches = data.prefetch(data.Batches(read, 100, 1, workers=3))
    next(batches)
    time.sleep(0.05)
    assert len(reads) <= 5
    batches.close()


def test_prefetch_passes_the_error_of_a_batch_on():
    def read(rows):
        if 6 in rows:
            raise DataError("Sample 6 cannot be read.")
        return rows

    with pytest.raises(DataError, match="Sample 6"):
        list(data.prefetch(data.Batches(read, 20, 2, workers=4)))


@pytest.mark.parametrize("workers", [1, 3])
def test_prefetch_of_a_share_reads_only_that(workers):
    reads = []

    def read(rows):
        reads.append(int(rows[0]))
        return rows

    batches = data.Batches(read, 11, 2, targets=np.arange(11) * 10, workers=workers)
    found = [(inputs.tolist(), targets.tolist()) for inputs, targets in data.prefetch(batches, range(1, 6, 2))]
    assert found == [([2, 3], [20, 30]), ([6, 7], [60, 70]), ([10], [100])]
    assert sorted(reads) == [2, 6, 10]
    assert list(data.prefetch(batches, [])) == []


def sizes(batches):
    return [len(batch) for batch in data.gathered(batches)]


def test_gathered_joins_small_batches_and_no_more():
    assert sizes([np.zeros((n, 2), np.float32) for n in (100, 100, 56, 1, 300, 5)]) == [256, 1, 300, 5]
    assert sizes([np.zeros((2, 2**20), np.float32)] * 5) == [4, 4, 2]  # 16 MB
    assert sizes([]) == []


def test_gathered_keeps_every_row_in_order():
    batches = [np.arange(start, start + 7) for start in range(0, 700, 7)]
    assert np.concatenate(list(data.gathered(batches))).tolist() == list(range(700))


def test_gathered_joins_the_parts_of_inputs():
    batches = [{"ids": np.full((2, 3), i), "pair": (np.full(2, i), np.full((2, 1), -i))} for i in range(3)]
    (found,) = data.gathered(batches)
    assert found["ids"][:, 0].tolist() == found["pair"][0].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["pair"][1].tolist() == [[0], [0], [-1], [-1], [-2], [-2]]


def test_gathered_joins_no_batches_of_other_shapes_or_types():
    batches = [(np.zeros((2, 3)), np.zeros(2)), (np.zeros((2, 4)), np.zeros(2)), (np.zeros((2, 4)), np.zeros(2, np.int8))]
    assert len(list(data.gathered(batches))) == 3


def test_share_of_the_test_part_must_be_a_number():
    with pytest.raises(ParameterError, match="test must be a number"):
        data.split([1, 2, 3, 4], test="half")


def test_batches_can_draw_a_part_an_epoch():
    batches = data.Batches(lambda rows: rows, 100, 8, seed=0, draw=20)
    parts = []
    for epoch in range(3):
        batches.start_epoch(epoch)
        assert len(batches) == 3
        part = np.concatenate([batches[i][0] for i in range(3)])
        assert len(set(part.tolist())) == 20
        parts.append(tuple(part.tolist()))
    assert len(set(parts)) == 3
    batches.start_epoch(1)
    assert tuple(batches.order.tolist()) == parts[1]
    assert len(data.Batches(lambda rows: rows, 10, 8, seed=0, draw=20)) == 2  # fewer than could be drawn: all of them
