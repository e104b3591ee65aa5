"""What tests of data share: shards that were written from nine pictures of pets, and by another tool."""

from __future__ import annotations

import io
import tarfile

import pytest


@pytest.fixture
def pet_shards(pets, tmp_path):
    """Four training shards of two or three pictures, two test shards of two, with their index."""
    pytest.importorskip("webdataset")
    from dlworkflow.data.image_folder import load_image_folder
    from dlworkflow.data.shards.writing import write_shards

    write_shards(load_image_folder(path=str(pets)), tmp_path / "shards", shards=4)
    return tmp_path / "shards"


@pytest.fixture
def write_tar(tmp_path):
    """Write a tar file of {member: bytes} as another tool would, without an index."""

    def write(name, members):
        path = tmp_path / "foreign" / name
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return write
