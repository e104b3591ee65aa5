"""Where a server listens, and how it ends: after the requests that it has taken."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import urllib.request

import pytest

from dlworkflow.errors import ConfigError
from dlworkflow.inference.server import Limits, make_app
from dlworkflow.inference.server.running import address_of, is_local, listen, own_names, serve


@pytest.mark.parametrize(
    ("host", "address", "local"),
    [("127.0.0.1", "http://127.0.0.1:", True), ("0.0.0.0", "http://127.0.0.1:", False), ("::1", "http://[::1]:", True)],
)
def test_the_address_is_one_that_a_browser_takes(host, address, local):
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6")
    with listen(host, 0) as listening:
        assert address_of(listening).startswith(address)
        assert (is_local(listening), own_names(listening, host) is None) == (local, not local)


def test_an_answer_is_sent_at_once():
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_port_in_use_is_one_line():
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port: {port} is in use; give another one, or 0 for any that is free"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "", "x" * 300, "192.0.2.1", "1.2.3.4.5"])
def test_a_host_that_is_not_this_machine_is_one_line(host):
    with pytest.raises(ConfigError, match=r"host: .* is no (name or )?address of this machine"):
        listen(host, 0)


def test_a_signal_ends_it_after_the_requests_that_it_has_taken(predictors, image):
    taken, statuses = threading.Event(), []

    def before():
        taken.set()
        time.sleep(0.5)

    with listen("127.0.0.1", 0) as listening:
        address = address_of(listening)

        def request():
            body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + image() + b"\r\n--x--"
            headers = {"content-type": "multipart/form-data; boundary=x"}
            with urllib.request.urlopen(
                urllib.request.Request(f"{address}/predict", body, headers), timeout=20
            ) as answer:
                statuses.append(answer.status)

        def end():
            taken.wait(20)
            os.kill(os.getpid(), signal.SIGTERM)

        threads = [threading.Thread(target=work) for work in (request, end)]
        for thread in threads:
            thread.start()
        serve(make_app(predictors.Brightness(before)), listening, Limits())
        for thread in threads:
            thread.join(20)

    assert statuses == [200]


@pytest.mark.parametrize("limit", [{"bytes": 0}, {"seconds": -1}, {"queue": 0}, {"seconds": float("nan")}])
def test_a_limit_is_above_zero(limit):
    with pytest.raises(ConfigError, match="must be above 0"):
        Limits(**limit)
