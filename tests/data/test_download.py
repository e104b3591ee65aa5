import hashlib
import io
import socket
import stat
import struct
import tarfile
import threading
import zipfile

import pytest

from dlworkflow.data.download import Remote, extract, fetch, fetch_archive, is_offline
from dlworkflow.errors import DataError, DlwError, MissingDataError

PUBLISHED = {"train/cat/0.png": b"a cat", "test/dog/0.png": b"a dog"}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def as_remote(path, **otherwise):
    published = {"url": path.as_uri(), "size": path.stat().st_size, "algorithm": "sha256", "digest": sha256(path)}
    return Remote(**published | otherwise)


def unpacked(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def pack(tmp_path):
    """Write a zip file of {member: content} where it is published; returns its path."""

    def write(members, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "published" / "photos.zip"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w", compression) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return path

    return write


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """An empty folder for data, and no setting that forbids fetching."""
    monkeypatch.delenv("DLW_OFFLINE", raising=False)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def answer(monkeypatch):
    """Answer one request on this machine with raw bytes, then hang up; returns the address."""
    monkeypatch.setenv("no_proxy", "*")
    threads = []

    def serve(reply):
        listener = socket.create_server(("127.0.0.1", 0))

        def once():
            with listener, listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(reply)

        threads.append(threading.Thread(target=once))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/photos.zip"

    yield serve
    for thread in threads:
        thread.join(10)


def test_an_archive_is_unpacked_as_the_folder(pack, data_dir):
    folder = fetch_archive(as_remote(pack(PUBLISHED)), data_dir / "photos")

    assert unpacked(folder) == PUBLISHED


def test_an_archive_leaves_nothing_beside_its_folder(pack, data_dir):
    fetch_archive(as_remote(pack(PUBLISHED)), data_dir / "photos")

    assert [path.name for path in data_dir.iterdir()] == ["photos"]


def test_a_folder_for_data_is_made_where_it_is_missing(pack, data_dir):
    assert fetch_archive(as_remote(pack(PUBLISHED)), data_dir / "a" / "b" / "photos").is_dir()


def test_files_are_fetched_into_the_folder(pack, data_dir):
    path = pack(PUBLISHED)
    fetch([as_remote(path)], data_dir / "raw")

    assert (data_dir / "raw" / "photos.zip").read_bytes() == path.read_bytes()


def faulty(path, fault):
    """The published file, otherwise than its table says."""
    remote = as_remote(path)
    match fault:
        case "another hash":
            return as_remote(path, digest="0" * 64)
        case "another size":
            return as_remote(path, size=path.stat().st_size + 1)
        case "too long":
            path.write_bytes(path.read_bytes() + b"x")
        case "cut short":
            path.write_bytes(path.read_bytes()[:-20])
        case "HTML":
            path.write_text("<!DOCTYPE html><title>404</title>")
        case "HTML with the right hash":
            path.write_text("<!DOCTYPE html><title>404</title>")
            return as_remote(path)
        case "gone":
            path.unlink()
    return remote


FAULTS = {
    "another hash": r"photos\.zip from file://.* has another sha256 than expected: not kept",
    "another size": r"photos\.zip from file://.* is [\d,]+ bytes, not the [\d,]+ expected: not kept",
    "too long": r"photos\.zip from file://.* is at least [\d,]+ bytes, not the [\d,]+ expected: not kept",
    "cut short": r"is [\d,]+ bytes, not the [\d,]+ expected",
    "HTML": r"is 33 bytes, not the [\d,]+ expected",
    "HTML with the right hash": r"photos\.zip is no whole zip file",
    "gone": r"cannot fetch file://.*photos\.zip \(.*\); put file://.*photos\.zip into '.*data' yourself and try again",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_what_was_published_is_refused(fault, pack, data_dir):
    remote = faulty(pack(PUBLISHED), fault)

    with pytest.raises(DataError, match=FAULTS[fault]):
        fetch_archive(remote, data_dir / "photos")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_fetch_leaves_nothing_behind(fault, pack, data_dir):
    remote = faulty(pack(PUBLISHED), fault)
    with pytest.raises(DataError):
        fetch_archive(remote, data_dir / "photos")

    assert below(data_dir) == []


def test_one_bad_file_of_several_leaves_nothing_behind(pack, data_dir):
    good = as_remote(pack(PUBLISHED))
    bad = as_remote(pack(PUBLISHED), digest="0" * 64)
    with pytest.raises(DataError):
        fetch([good, bad], data_dir / "raw")

    assert below(data_dir) == []


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nPK",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nPK",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["404", "hung up", "not HTTP", "cut short", "cut short in a chunk", "another file"],
)
def test_a_server_that_fails_is_named(reply, pack, data_dir, answer):
    remote = as_remote(pack(PUBLISHED), url=answer(reply))

    with pytest.raises(DlwError, match=r"http://127\.0\.0\.1:\d+/photos\.zip"):
        fetch_archive(remote, data_dir / "photos")


def test_a_whole_answer_of_a_server_is_kept(pack, data_dir, answer):
    path = pack(PUBLISHED)
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % path.stat().st_size + path.read_bytes()

    assert unpacked(fetch_archive(as_remote(path, url=answer(reply)), data_dir / "photos")) == PUBLISHED


def test_an_address_of_another_kind_is_refused(pack, data_dir):
    with pytest.raises(DataError, match=r"'ftp://x/photos\.zip' is no address to fetch from; it starts with https://"):
        fetch_archive(as_remote(pack(PUBLISHED), url="ftp://x/photos.zip"), data_dir / "photos")


def test_offline_says_which_file_to_put_where(data_dir):
    remote = Remote("https://example.org/photos.zip", 1, "sha256", "0")

    with pytest.raises(
        MissingDataError,
        match=r"photos is not in '.*data' and fetching is off; put https://example\.org/photos\.zip into '.*data'",
    ):
        fetch_archive(remote, data_dir / "photos", offline=True)


def test_the_environment_can_forbid_fetching(pack, data_dir, monkeypatch):
    monkeypatch.setenv("DLW_OFFLINE", "1")

    with pytest.raises(MissingDataError, match="fetching is off"):
        fetch_archive(as_remote(pack(PUBLISHED)), data_dir / "photos")


@pytest.mark.parametrize(("value", "off"), [("1", True), ("yes", True), ("0", False), ("", False), ("False", False)])
def test_offline_is_anything_but_nothing_and_no(value, off, monkeypatch):
    monkeypatch.setenv("DLW_OFFLINE", value)

    assert is_offline() is off


def test_an_archive_put_where_it_was_said_is_used_offline(pack, data_dir):
    remote = as_remote(pack(PUBLISHED).rename(data_dir / "photos.zip"), url="https://example.org/photos.zip")

    assert unpacked(fetch_archive(remote, data_dir / "photos", offline=True)) == PUBLISHED


def test_an_archive_put_there_is_kept_as_it_is(pack, data_dir, state_of):
    remote = as_remote(pack(PUBLISHED).rename(data_dir / "photos.zip"), url="https://example.org/photos.zip")
    before = state_of(data_dir)
    fetch_archive(remote, data_dir / "photos")

    assert before.items() <= state_of(data_dir).items()


def test_files_put_where_it_was_said_are_used_offline(pack, data_dir):
    remote = as_remote(pack(PUBLISHED).rename(data_dir / "photos.zip"), url="https://example.org/photos.zip")

    assert below(fetch([remote], data_dir / "raw", offline=True)) == ["photos.zip"]


def test_a_wrong_archive_put_there_is_refused(pack, data_dir):
    remote = as_remote(pack(PUBLISHED).rename(data_dir / "photos.zip"), url="https://example.org/photos.zip")
    (data_dir / "photos.zip").write_bytes(b"x" * remote.size)

    with pytest.raises(DataError, match="has another sha256 than expected"):
        fetch_archive(remote, data_dir / "photos")


def test_a_folder_that_is_in_the_way_is_left_alone(pack, data_dir):
    (data_dir / "photos").mkdir()
    (data_dir / "photos" / "mine.txt").write_text("mine")
    with pytest.raises(DataError):
        fetch_archive(as_remote(pack(PUBLISHED)), data_dir / "photos")

    assert below(data_dir) == ["photos", "photos/mine.txt"]


def test_a_place_that_cannot_be_written_is_named(pack, data_dir):
    (data_dir / "file").touch()

    with pytest.raises(DataError, match=r"cannot write '.*file/photos': .*; name another folder with data_dir"):
        fetch_archive(as_remote(pack(PUBLISHED)), data_dir / "file" / "photos")


def test_an_archive_of_unknown_digest_is_unpacked(pack, data_dir):
    assert unpacked(fetch_archive(Remote(pack(PUBLISHED).as_uri()), data_dir / "photos")) == PUBLISHED


def test_an_archive_of_unknown_size_has_the_announced_one(pack, data_dir, answer):
    content = pack(PUBLISHED).read_bytes()
    url = answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(content) + 1) + content)

    with pytest.raises(DataError, match=r"photos\.zip from http://.* is [\d,]+ bytes, not the [\d,]+ expected"):
        fetch_archive(Remote(url), data_dir / "photos")


def test_an_archive_of_unannounced_size_is_read_to_its_end(pack, data_dir, answer):
    url = answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + pack(PUBLISHED).read_bytes())

    assert unpacked(fetch_archive(Remote(url), data_dir / "photos")) == PUBLISHED


def test_an_archive_of_unknown_digest_must_be_a_zip_file(data_dir, answer):
    url = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")

    with pytest.raises(DataError, match=r"photos\.zip is no whole zip file"):
        fetch_archive(Remote(url), data_dir / "photos")


def test_a_kept_archive_overwrites_nothing(pack, data_dir):
    path = pack(PUBLISHED)
    (data_dir / "photos.zip").mkdir()
    fetch_archive(as_remote(path), data_dir / "photos", keep=True)

    assert below(data_dir / "photos.zip") == []


@pytest.mark.parametrize(
    ("url", "name"), [("https://x.org/a/b.zip?raw=true", "b.zip"), ("https://x.org/b%20c.zip#d", "b%20c.zip")]
)
def test_a_files_name_is_without_what_a_server_is_asked(url, name):
    assert Remote(url).name == name


@pytest.mark.parametrize("url", ["https://x.org", "https://x.org/..", "https://x.org/?f=a.zip"])
def test_an_address_without_a_file_is_refused(url, data_dir):
    with pytest.raises(DataError, match="names no file to fetch"):
        fetch_archive(Remote(url), data_dir / "photos")


ESCAPES = ["../x", "a/../../x", "/abs", "C:\\x", "C:/x", "\\x", "a\\..\\..\\x", "..\\x", "..", "//host/x"]


@pytest.mark.parametrize("member", ESCAPES)
def test_a_member_that_would_leave_the_folder_is_named(member, pack, tmp_path):
    with pytest.raises(DataError) as caught:
        extract(pack({"good": b"", member: b"evil"}), tmp_path / "out")

    assert str(caught.value) == f"photos.zip: member {member!r} would be written outside its folder"


@pytest.mark.parametrize("member", ESCAPES)
def test_an_archive_with_a_member_that_would_leave_the_folder_is_refused_whole(member, pack, tmp_path):
    path = pack({"good": b"", member: b"evil"})
    with pytest.raises(DataError):
        extract(path, tmp_path / "out")

    assert below(tmp_path) == ["published", "published/photos.zip"]


def test_a_member_that_is_a_link_is_named(pack, tmp_path):
    link = zipfile.ZipInfo("etc")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16

    with pytest.raises(DataError, match=r"photos\.zip: member 'etc' is a link"):
        extract(pack({link: "/etc"}), tmp_path / "out")


def test_a_name_that_only_looks_like_leaving_is_unpacked(pack, tmp_path):
    assert unpacked(extract(pack({"a..b/...c": b"x"}), tmp_path / "out")) == {"a..b/...c": b"x"}


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(pack, tmp_path):
    with pytest.raises(DataError, match=r"photos\.zip: would unpack to 20,000,000 bytes, 10 times its own size"):
        extract(pack({"zeros": bytes(20_000_000)}), tmp_path / "out")


def test_an_empty_archive_is_an_empty_folder(pack, tmp_path):
    assert below(extract(pack({}), tmp_path / "out")) == []


def edited(path, fault):
    """A zip file with one thing wrong in it."""
    raw = bytearray(path.read_bytes())
    directory = raw.index(b"PK\x01\x02")
    match fault:
        case "cut short":
            del raw[-30:]
        case "garbled data":
            raw[35:45] = b"\xff" * 10
        case "another checksum":
            raw[directory + 16 : directory + 20] = b"\0\0\0\0"
        case "locked":
            raw[6] |= 1
            raw[directory + 8] |= 1
        case "unknown compression":
            raw[directory + 10 : directory + 12] = struct.pack("<H", 77)
        case "no archive":
            raw = b"<!DOCTYPE html>"
        case "nothing":
            raw = b""
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    "fault",
    ["cut short", "garbled data", "another checksum", "locked", "unknown compression", "no archive", "nothing"],
)
def test_a_damaged_archive_is_named(fault, pack, tmp_path):
    with pytest.raises(DataError, match=r"photos\.zip"):
        extract(edited(pack({"text": b"to and fro, " * 50}), fault), tmp_path / "out")


def test_a_member_that_is_file_and_folder_at_once_is_refused(pack, tmp_path):
    with pytest.raises(DataError, match=r"photos\.zip"):
        extract(pack({"a": b"x", "a/b": b"y"}), tmp_path / "out")


@pytest.fixture
def tar(tmp_path):
    """Write a packed tar file of {member: content}, or of other members, where it is published; returns its path."""

    def write(members):
        path = tmp_path / "published" / "photos.tar.gz"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w:gz") as archive:
            for member, content in members.items():
                if isinstance(member, str):
                    member = tarfile.TarInfo(member)
                    member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return write


def test_a_tar_file_is_unpacked(tar, tmp_path):
    assert unpacked(extract(tar(PUBLISHED), tmp_path / "out")) == PUBLISHED


def test_the_top_folder_of_an_archive_becomes_the_folder(tar, data_dir):
    folder = fetch_archive(as_remote(tar(PUBLISHED)), data_dir / "photos", top_folder="train")

    assert unpacked(folder) == {"cat/0.png": b"a cat"}


def test_an_archive_without_its_top_folder_is_refused(tar, data_dir):
    with pytest.raises(DataError, match=r"photos\.tar\.gz has no folder 'val'"):
        fetch_archive(as_remote(tar(PUBLISHED)), data_dir / "photos", top_folder="val")


@pytest.mark.parametrize("member", ["../x", "a/../../x", "/abs", "..\\x"])
def test_a_tar_member_that_would_leave_the_folder_is_named_and_nothing_is_unpacked(member, tar, tmp_path):
    with pytest.raises(DataError, match="would be written outside its folder"):
        extract(tar({"good": b"", member: b"evil"}), tmp_path / "out")

    assert below(tmp_path) == ["published", "published/photos.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_tar_member_that_is_no_file_is_named(kind, tar, tmp_path):
    member = tarfile.TarInfo("etc")
    member.type, member.linkname = kind, "/etc"

    with pytest.raises(DataError, match=r"photos\.tar\.gz: member 'etc' is a link or a device"):
        extract(tar({member: b""}), tmp_path / "out")


def test_a_tar_file_that_unpacks_to_far_more_than_its_size_is_refused(tar, tmp_path):
    with pytest.raises(DataError, match=r"photos\.tar\.gz: would unpack to 20,000,000 bytes"):
        extract(tar({"zeros": bytes(20_000_000)}), tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", None], ids=["nothing", "no archive", "cut short"])
def test_a_damaged_tar_file_is_named(content, tar, tmp_path):
    path = tar({"text": bytes(range(256)) * 50})
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)

    with pytest.raises(DataError, match=r"photos\.tar\.gz is no whole tar file"):
        extract(path, tmp_path / "out")
