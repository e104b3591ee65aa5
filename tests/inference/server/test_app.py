"""Each request gets what it asks for, or a status with one line; nothing is written and no path is shown."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import threading
import time

import pytest

from dlworkflow.inference.server import Limits, make_app

FORM = {"content-type": "multipart/form-data; boundary=x"}
CODED = {"content-type": "multipart/form-data; boundary=x; charset=undefined"}
NAMED = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n1\r\n--x--\r\n'
JSON = {"content-type": "application/json"}


def files(*contents, name="a.png"):
    return [("file", (name, content)) for content in contents]


@pytest.fixture
def app(predictors):
    return make_app(predictors.Brightness())


def test_an_image_is_answered_with_its_prediction(app, image, ask):
    answer = ask(app, "POST", "/predict", files=files(image(255)))

    assert answer.json() == {
        "predictions": [
            {
                "input": "a.png",
                "label": "light",
                "probability": 1.0,
                "top": [{"label": "light", "probability": 1.0}, {"label": "dark", "probability": 0.0}],
            }
        ]
    }


def test_several_images_are_answered_in_their_order(app, image, ask):
    answer = ask(app, "POST", "/predict", files=files(image(255), image(0), image(255)))

    assert [each["label"] for each in answer.json()["predictions"]] == ["light", "dark", "light"]


def test_an_image_that_cannot_be_read_is_an_error_among_the_others(app, image, ask):
    answer = ask(app, "POST", "/predict", files=files(image(255), b"a text", image(0)))

    found = answer.json()["predictions"]
    assert (answer.status_code, found[0]["label"], found[2]["label"]) == (200, "light", "dark")
    assert found[1] == {"input": "a.png", "error": "is no image in a format that is known here"}


def test_the_only_image_that_cannot_be_read_is_the_error_of_the_request(app, ask):
    answer = ask(app, "POST", "/predict", files=files(b"a text"))

    assert answer.status_code == 422
    assert answer.text == '{"error": "\'a.png\': is no image in a format that is known here"}\n'


@pytest.mark.parametrize(("top_k", "labels"), [("1", 1), ("2", 2), ("99", 2), ("all", 2)])
def test_as_many_classes_are_answered_as_the_request_asks_for(top_k, labels, app, image, ask):
    answer = ask(app, "POST", f"/predict?top_k={top_k}", files=files(image()))

    assert len(answer.json()["predictions"][0]["top"]) == labels


def test_requests_in_one_batch_get_as_many_classes_as_each_asks_for(app, image, client):
    async def together():
        async with client(app) as own:
            asked = (own.post(f"/predict?top_k={k}", files=files(image(), image())) for k in (1, 2))
            return await asyncio.gather(*asked)

    assert [len(answer.json()["predictions"][0]["top"]) for answer in asyncio.run(together())] == [1, 2]


@pytest.mark.parametrize(
    ("status", "words", "request_"),
    [
        (400, "unknown field 'image'; send images in the field 'file'", {"files": {"image": b"x"}}),
        (400, "'file' has text and no file; with curl: -F file=@", {"files": {"file": (None, "x")}}),
        (400, "no file; send images", {"headers": FORM, "content": b"--x--\r\n"}),
        (400, "the form cannot be read: Missing boundary", {"headers": {"content-type": "multipart/form-data"}}),
        (400, "the form cannot be read", {"headers": FORM, "content": b"--y\r\nnonsense"}),
        (400, "the form cannot be read: a name in it is not of its charset", {"headers": CODED, "content": NAMED}),
        (400, "top_k: must be a whole number .*, not '0'", {"params": {"top_k": "0"}}),
        (400, "top_k: must be a whole number .*, not '٣'", {"params": {"top_k": "٣"}}),
        (413, "too many files; at most 32", {"files": files(*33 * [b"x"])}),
        (413, "too large; at most 67,108,864 bytes", {"headers": {**FORM, "content-length": "2147483648"}}),
        (415, "no content type; send images as multipart/form-data", {}),
        (415, "content type 'text/plain'; send images", {"headers": {"content-type": "text/plain"}}),
        (415, "content type 'application/json'; send images", {"json": {"rows": [[1, 2]]}}),
    ],
)
def test_what_is_no_request_for_images_is_one_line(status, words, request_, app, ask):
    answer = ask(app, "POST", "/predict", **request_)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert re.search(words, answer.json()["error"])


def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_large(predictors, ask):
    sent = []

    async def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        while len(sent) < 10_000:
            sent.append(1)
            yield b"x" * 1000

    app = make_app(predictors.Brightness(), Limits(bytes=50_000))
    answer = ask(app, "POST", "/predict", headers={**FORM, "expect": "100-continue"}, content=endless())

    assert (answer.status_code, len(sent)) == (413, 50)


def test_images_of_any_size_are_kept_in_memory(app, ask, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")

    assert ask(app, "POST", "/predict", files=files(b"x" * 3_000_000)).status_code == 422


def test_an_image_of_too_many_pixels_is_one_line_without_advice_for_the_owner_of_the_server(predictors, image, ask):
    answer = ask(make_app(predictors.Brightness(), Limits(pixels=50)), "POST", "/predict", files=files(image()))

    assert answer.json() == {"error": "'a.png': has 63 pixels, above the limit of 50"}


@pytest.mark.parametrize("name", ["../../etc/passwd\x1b[2J\r\n<script>\u202e" + "x" * 999, "\ud800.png", ""])
def test_a_name_of_a_file_may_hold_anything(name, app, image, ask):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n--x--\r\n'
    given = name.replace("\r\n", "").encode(errors="surrogatepass")

    answer = ask(app, "POST", "/predict", headers=FORM, content=body % (given, image()))

    shown = answer.json()["predictions"][0]["input"]
    assert 0 < len(shown) <= 200
    assert shown.isprintable()


def test_rows_of_numbers_are_predicted(predictors, ask):
    answer = ask(make_app(predictors.Sums()), "POST", "/predict", json={"rows": [[1, 2], [0.5, -1]]})

    assert answer.json() == {"predictions": [{"input": "1 2", "value": 3.0}, {"input": "0.5 -1", "value": -0.5}]}


def test_rows_of_a_table_are_predicted_by_their_columns(predictors, ask):
    rows = [{"area": 7, "city": "Rome", "more": []}, {"area": "x", "city": "Rome"}]

    found = ask(make_app(predictors.Houses()), "POST", "/predict", json={"rows": rows}).json()["predictions"]

    assert found == [{"input": "7 Rome", "value": 8.0}, {"input": "x Rome", "error": "column 'area': 'x' is no number"}]


@pytest.mark.parametrize(
    ("status", "words", "body"),
    [
        (400, "the body is no JSON", "{"),
        (400, "the body is no JSON: is nested too deep", "[" * 200_000),
        (400, "the body is no JSON: is nested too deep", '{"rows": [[1, ' + "[" * 970 + "]" * 970 + "]]}"),
        (400, "the body is no JSON", '{"rows": [[' + "9" * 5000 + ", 1]]}"),
        (400, "the body is no JSON", b"\xff\xfe\x00"),
        (400, r'must be an object {"rows": \[...\]}, not list', "[[1, 2]]"),
        (400, r"not an object with 'row'", '{"row": 1}'),
        (400, r"not an object with nothing", "{}"),
        (400, r"must be an object {.*}, not int", "1"),
        (400, "rows: must be a list of at least one row, not 'x.csv'", '{"rows": "x.csv"}'),
        (400, r"rows: must be a list of at least one row, not \[\]", '{"rows": []}'),
        (413, "4,097 rows; at most 4,096 in a request", '{"rows": [' + "0," * 4096 + "0]}"),
        (422, "rows: must all be lists of numbers", '{"rows": ["/etc/passwd.csv"]}'),
        (422, "rows: must all be lists of numbers", '{"rows": [{"x": 1}]}'),
        (422, r"takes 2 number\(s\) a row, not 3", '{"rows": [[1, 2], [1, 2, 3]]}'),
        (422, "not all of a row are numbers", '{"rows": [[1, null]]}'),
        (422, "not all of a row are numbers", '{"rows": [[1, 1' + "0" * 400 + "]]}"),
        (422, "the model returns no finite number for it", '{"rows": [[1, 1e999]]}'),
        (422, "the model returns no finite number for it", '{"rows": [[1, NaN]]}'),
    ],
)
def test_what_is_no_request_for_rows_is_one_line(status, words, body, predictors, ask):
    answer = ask(make_app(predictors.Sums()), "POST", "/predict", headers=JSON, content=body)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert re.search(words, answer.json()["error"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([1, 2], "takes categories .*give the columns by name"),
        ("houses.csv", r"rows: must all be objects {column: value}"),
        ({"area": 10**400, "city": "Rome"}, "column 'area': 1000.* is not finite"),
        ({"area": [1], "city": {"a": 1}}, r"column 'area': .*no number.*; column 'city': .* is none of"),
        ({"area": 1, "city": "\ud800"}, "column 'city': .* is none of the training data's categories"),
        ({}, "column 'area': the value is missing; column 'city': the value is missing"),
    ],
)
def test_what_is_no_row_of_a_table_is_one_line(row, words, predictors, ask):
    body = json.dumps({"rows": [row]})
    answer = ask(make_app(predictors.Houses()), "POST", "/predict", headers=JSON, content=body)

    assert answer.status_code == 422
    assert re.search(words, answer.json()["error"])


class Held:
    """Holds a batch until it is let go."""

    def __init__(self):
        self.reached, self.gate = threading.Event(), threading.Event()

    def __call__(self):
        self.reached.set()
        self.gate.wait(10)


def test_requests_that_arrive_while_a_batch_is_predicted_are_the_next_batch(predictors, image, client):
    held = Held()
    predictor = predictors.Brightness(held)

    async def arrive():
        async with client(make_app(predictor)) as own:
            first = asyncio.create_task(own.post("/predict", files=files(image())))
            await asyncio.to_thread(held.reached.wait)
            later = [asyncio.create_task(own.post("/predict", files=files(image()))) for _ in range(5)]
            await asyncio.sleep(0.2)
            held.gate.set()
            return await asyncio.gather(first, *later)

    assert {answer.status_code for answer in asyncio.run(arrive())} == {200}
    assert predictor.batches == [1, 5]


@pytest.mark.parametrize("limits", [Limits(queue=1), Limits(memory=800, bytes=800)])
def test_a_request_for_which_there_is_no_room_is_to_come_again(limits, predictors, image, client):
    held = Held()

    async def arrive():
        async with client(make_app(predictors.Brightness(held), limits)) as own:
            first = asyncio.create_task(own.post("/predict", files=files(image() + b"x" * 300)))
            await asyncio.to_thread(held.reached.wait)
            second = await own.post("/predict", files=files(image() + b"x" * 300))
            held.gate.set()
            third = await own.post("/predict", files=files(image())) if (await first).status_code == 200 else None
            return second, third

    second, third = asyncio.run(arrive())

    assert (second.status_code, second.headers["retry-after"], third.status_code) == (429, "1", 200)


def test_the_largest_request_has_room_where_there_is_no_other(predictors, image, ask):
    app = make_app(predictors.Brightness(), Limits(memory=10))

    assert ask(app, "POST", "/predict", files=files(image())).status_code == 200


def test_what_is_not_predicted_in_time_is_an_answer_too(predictors, image, ask):
    held = Held()
    threading.Timer(0.5, held.gate.set).start()

    answer = ask(make_app(predictors.Brightness(held), Limits(seconds=0.1)), "POST", "/predict", files=files(image()))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"error": "not predicted within 0.1 s; try again"}


def test_a_body_that_does_not_arrive_in_time_is_an_answer_too(predictors, ask):
    async def slow():
        yield b"--x\r\n"
        await asyncio.sleep(10)

    app = make_app(predictors.Brightness(), Limits(seconds=0.1))
    began = time.monotonic()
    answer = ask(app, "POST", "/predict", headers=FORM, content=slow())

    assert (answer.status_code, time.monotonic() - began < 5) == (408, True)


def test_a_client_that_has_gone_is_no_error(app, caplog):
    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
    asyncio.run(app(scope | {"scheme": "http", "server": ("x", 1)}, gone, send))

    assert caplog.records == []


def test_an_error_of_ours_is_one_line_here_and_none_of_it_there(predictors, image, ask, caplog):
    def fail():
        raise KeyError("/home/me/secret")

    answer = ask(make_app(predictors.Brightness(fail)), "POST", "/predict", files=files(image()))

    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "the server could not answer; its terminal shows why"},
    )
    assert "unexpected KeyError: '/home/me/secret' (a bug)" in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_answer_names_the_folder_of_a_model_file(predictors, ask):
    class OfFile(predictors.Sums):
        name = "model '/home/me/sums.onnx'"

    app = make_app(OfFile())
    answers = [ask(app, "GET", path) for path in ("/info", "/docs", "/openapi.json")]
    answers.append(ask(app, "POST", "/predict", json={"rows": [[1]]}))

    assert all("sums.onnx" in answer.text and "/home" not in answer.text for answer in answers)


def test_an_error_about_a_huge_value_takes_no_time_for_all_of_it(predictors, ask, monkeypatch):
    lengths = []
    monkeypatch.setattr("dlworkflow.inference.server.reading.printable", lambda text: lengths.append(len(text)) or "x")
    app = make_app(predictors.Sums())

    for body in ({"rows": "x" * 9999}, {"x" * 9999: 1}, {f"key {number}": 1 for number in range(9999)}):
        assert ask(app, "POST", "/predict", json=body).status_code == 400

    assert (max(lengths), len(lengths) < 20) == (60, True)


def test_a_request_to_another_name_than_this_machines_is_refused(predictors, ask):
    app = make_app(predictors.Brightness(), hosts={"127.0.0.1"})

    answers = [ask(app, "GET", "/info", headers={"host": host}) for host in ("127.0.0.1:8000", "evil.com", "[::1", "")]

    assert [answer.status_code for answer in answers] == [200, 400, 400, 400]


def test_info_has_what_a_client_must_know(predictors, ask):
    answer = ask(make_app(predictors.Houses(), about={"run": "houses-001"}), "GET", "/info").json()

    assert (answer["run"], answer["kind"], answer["task"], answer["target"]) == (
        *("houses-001", "tabular", "regression", "price"),
    )
    assert answer["columns"] == [{"name": "area", "categories": None}, {"name": "city", "categories": ["Bonn", "Rome"]}]
    assert answer["limits"]["rows"] == 4096


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/page.css", "/nowhere"])
def test_every_answer_forbids_what_is_not_served_here(path, app, ask):
    policy = ask(app, "GET", path).headers["content-security-policy"]

    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_page_names_a_resource_of_another_machine(path, app, ask):
    assert not re.findall(r'(?:src|href|action)="(?:\w+:)?//', ask(app, "GET", path).text)


def test_the_page_of_addresses_has_each_of_them(app, ask):
    paths = ask(app, "GET", "/openapi.json").json()["paths"]

    text = ask(app, "GET", "/docs").text
    assert set(paths) == {"/health", "/info", "/predict"}
    assert all(f" {path}</code>" in text for path in paths)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/x%1b", 404), ("PUT", "/predict", 405)])
def test_another_address_is_one_line(method, path, status, app, ask):
    answer = ask(app, method, path)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert answer.json()["error"].isprintable()


def test_it_can_be_mounted_in_an_application_of_another(predictors, image, ask):
    from fastapi import FastAPI

    outer = FastAPI()
    outer.mount("/food", make_app(predictors.Brightness()))

    assert ask(outer, "POST", "/food/predict", files=files(image())).status_code == 200


def test_an_unsure_answer_has_no_label_and_keeps_the_likeliest_classes(predictors, image, ask):
    app = make_app(predictors.Brightness().cautious(min_confidence=0.9))
    answer = ask(app, "POST", "/predict", files=files(image(255), image(140)))

    sure, unsure = answer.json()["predictions"]
    assert (sure["label"], sure["unsure"]) == ("light", False)
    assert (unsure["label"], unsure["unsure"], unsure["top"][0]["label"]) == (None, True, "light")
