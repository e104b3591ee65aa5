"""A server under load, with hostile requests and while its run is deleted: an answer to each request, and it lives."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import random
import resource
import runpy
import shutil
import signal
import socket
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from PIL import Image

from dlworkflow.cli.app import main

pytestmark = pytest.mark.faults
TESTS = Path(__file__).parent.parent
CLIENT = SimpleNamespace(**runpy.run_path(str(TESTS / "bench" / "serving.py")))
DAMAGES = runpy.run_path(str(TESTS / "faults" / "test_fuzz.py"))["DAMAGES"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small run on images."""
    folder = tmp_path_factory.mktemp("served")
    arguments = ["train", "tinyvgg", "--data", "digits", "--epochs", "1", "--threads", "1", "--runs-dir", str(folder)]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
    return folder / "tinyvgg-digits-001"


@pytest.fixture(scope="module")
def server(run):
    """A server of it."""
    with CLIENT.served(str(run), "--timeout", "10") as server:
        yield server


@pytest.fixture
def address(server):
    return server.address


def photo(kind="JPEG"):
    stream = io.BytesIO()
    Image.effect_noise((600, 400), 90).convert("RGB").save(stream, kind)
    return stream.getvalue()


def post(address, body, **headers):
    """Send a request on a connection of its own; return the status and the object of the answer."""
    place = urlsplit(address)
    with closing(http.client.HTTPConnection(place.hostname, place.port, timeout=60)) as connection:
        connection.request("POST", "/predict", body, {"content-type": "multipart/form-data; boundary=x"} | headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def form(content, name="a.jpg"):
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--x--\r\n"


def is_alive(address):
    return post(address, form(photo()))[0] == 200


def memory(process):
    """Return the most memory in bytes that a process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def test_thirty_two_clients_get_an_answer_to_each_request_for_thirty_seconds(address, capsys):
    load = asyncio.run(
        asyncio.wait_for(CLIENT.ask(address, [CLIENT.post_file("a.jpg", photo())], clients=32, seconds=30), 60)
    )

    with capsys.disabled():
        print(f"\n32 clients for 30 s: {dict(load.statuses)}, the slowest took {max(load.seconds):.1f} s")
    assert set(load.statuses) <= {200, 429}
    assert load.statuses[200] > 100


def test_ten_thousand_requests_at_once_are_all_answered(address, capsys):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    n = min(10_000, most - 200)
    given = CLIENT.post_file("a.jpg", photo())

    load = asyncio.run(asyncio.wait_for(CLIENT.ask(address, [given], clients=n, seconds=0), 300))

    with capsys.disabled():
        print(f"\n{n:,} requests at once: {dict(load.statuses)}")
    assert load.statuses.total() == n
    assert set(load.statuses) <= {200, 429, 503}
    assert is_alive(address)


@pytest.mark.parametrize("length", [{"content-length": str(2 * 1024**3)}, {"transfer-encoding": "chunked"}])
def test_a_body_of_two_gigabytes_is_refused_and_not_kept(length, server):
    address, before, sent = server.address, memory(server.process), Counter()
    head = form(b"").partition(b"\r\n--x--")[0]

    def endless():
        yield head if "content-length" in length else b"%x\r\n%s\r\n" % (len(head), head)
        while sent["bytes"] < 2 * 1024**3:
            chunk = bytes(2**20)
            sent["bytes"] += len(chunk)
            yield chunk if "content-length" in length else b"%x\r\n%s\r\n" % (len(chunk), chunk)

    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=60) as connection:
        lines = {"host": "localhost", "content-type": "multipart/form-data; boundary=x"} | length
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"POST /predict HTTP/1.1\r\n{text}\r\n".encode())
        try:
            for chunk in endless():
                connection.sendall(chunk)
        except OSError:
            pass
        connection.settimeout(30)
        answer = connection.recv(1000)

    assert b" 413 " in answer.splitlines()[0]
    assert memory(server.process) - before < 300 * 1024**2


def test_a_body_that_trickles_in_is_given_up(address):
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=30) as connection:
        head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\n"
        connection.sendall(f"{head}content-length: 1000\r\n\r\n--x".encode())
        began = time.monotonic()
        answer = connection.recv(1000)

    assert b" 408 " in answer.splitlines()[0]
    assert time.monotonic() - began < 14
    assert is_alive(address)


def test_damaged_images_are_answered_with_a_prediction_or_one_line(address, run):
    draw = random.Random(5)
    odd = []
    for turn in range(120):
        content = DAMAGES[turn % len(DAMAGES)](photo("PNG" if turn % 2 else "JPEG"), draw)
        status, answer = post(address, form(content))
        text = answer.get("error", "")
        if status not in (200, 422) or "\n" in text or str(run.parent) in text or " at 0x" in text:
            odd.append((turn, status, answer))

    assert odd == []
    assert is_alive(address)


@pytest.mark.parametrize(
    "body",
    [b"", b"--x", b"--x\r\n\r\n", b"--x--", form(b"x")[:-4], b"--x\r\n" + b"a: b\r\n" * 10_000, bytes(100_000)],
    ids=range(7),
)
def test_a_damaged_form_is_one_line(body, address):
    status, answer = post(address, body)

    assert (status, list(answer)) in ((400, ["error"]), (422, ["error"]))
    assert is_alive(address)


def test_what_is_no_http_ends_its_own_connection_alone(address):
    for words in (b"\x16\x03\x01\x02\x00", b"GET " + b"x" * 200_000, b"POST /predict HTTP/1.1\r\n: \r\n\r\n"):
        place = urlsplit(address).hostname, urlsplit(address).port
        with socket.create_connection(place, timeout=10) as connection, suppress(OSError):  # it may have ended already
            connection.sendall(words)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)

    assert is_alive(address)


def test_a_run_that_is_deleted_is_still_served(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "runs" / "copy-001")
    with CLIENT.served(str(copy)) as (address, _):
        shutil.rmtree(copy)

        assert is_alive(address)


def test_a_request_that_was_taken_is_answered_before_the_server_ends(run):
    with CLIENT.served(str(run)) as (address, process):
        place = urlsplit(address)
        body = form(photo())
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\n"
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:1000])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(1)
            connection.sendall(body[1000:])
            answer = connection.recv(1000)
        code = process.wait(timeout=30)

    assert b" 200 " in answer.splitlines()[0]
    assert code == 0
