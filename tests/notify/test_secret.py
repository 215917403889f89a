"""A secret is in a file of its owner's, or it is none."""

from __future__ import annotations

import pytest

from adapters.notify.secret import read_secret
from spir.errors import Unavailable


@pytest.fixture
def file(tmp_path):
    def write(content: bytes, mode: int = 0o600):
        path = tmp_path / "hook.key"
        path.write_bytes(content)
        path.chmod(mode)
        return path

    return write


@pytest.mark.parametrize("content", [b"invented", b"invented\n", b"invented\r\n"])
def test_the_line_end_is_not_part_of_it(file, content):
    assert read_secret(file(content)) == b"invented"


def test_a_secret_that_others_can_read_is_refused(file):
    with pytest.raises(Unavailable, match="read by others"):
        read_secret(file(b"invented", 0o644))


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_secret_is_refused(file, content):
    with pytest.raises(Unavailable, match="empty"):
        read_secret(file(content))


def test_a_missing_file_is_our_error(tmp_path):
    with pytest.raises(Unavailable, match="cannot be read"):
        read_secret(tmp_path / "none")
