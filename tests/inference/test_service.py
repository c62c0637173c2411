"""The page and its endpoint, through starlette's own client."""

import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ifusion.inference.opening import load_predictor

pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
testclient = pytest.importorskip("starlette.testclient")

from ifusion.inference import service  # noqa: E402
from ifusion.inference.service import make_app, serve  # noqa: E402

LOCAL = "http://127.0.0.1"


@pytest.fixture(scope="module")
def classes(trained):
    return load_predictor(trained, "audio")


@pytest.fixture(scope="module")
def client(classes):
    app = make_app(classes, limit=50_000)
    with testclient.TestClient(app, base_url=LOCAL) as client:  # one loop for all
        yield client


@pytest.fixture(scope="module")
def table(small, table_of):
    return table_of(small, "audio", "dev")


def post(client, name, data):
    return client.post("/predict", params={"name": name}, content=data)


def test_a_table_is_answered_as_the_predictor_does(client, classes, table):
    reply = post(client, "some features.csv", table.to_csv(index=False).encode())
    assert reply.status_code == 200
    said = reply.json()
    assert said["rows"] == 20 and said["notes"] == []
    expected = classes.predict(table)
    assert said["columns"]["emotion"] == expected["emotion"].tolist()
    for name in classes.classes:
        np.testing.assert_allclose(said["columns"][name], expected[name], rtol=1e-5)


def test_curves_come_with_their_times(trained_series, series, table_of):
    predictor = load_predictor(trained_series, "audio")
    client = testclient.TestClient(make_app(predictor), base_url=LOCAL)
    frames = table_of(series, "audio", "dev").iloc[:90]
    said = post(client, "audio.csv", frames.to_csv(index=False).encode()).json()
    assert said["classes"] == [] and said["targets"] == ["arousal", "valence"]
    assert said["columns"]["recording"][0] == "audio"
    assert said["columns"]["time"][:3] == [0.0, 0.04, 0.08]
    expected = predictor.predict(frames)["valence"]
    np.testing.assert_allclose(said["columns"]["valence"], expected, atol=1e-5)


def test_the_page_says_what_it_needs(client, classes):
    reply = client.get("/")
    assert reply.status_code == 200 and "default-src 'none'" in str(reply.headers)
    assert "@" not in reply.text.replace("@media", "")
    assert all(name in reply.text for name in classes.features["audio"])
    assert "no card" in client.get("/card").text


def test_names_on_the_page_are_escaped(classes):
    wild = replace(classes, about={"title": "<script>alert(1)</script>"})
    reply = testclient.TestClient(make_app(wild), base_url=LOCAL).get("/")
    assert "<script>alert" not in reply.text and "&lt;script&gt;alert" in reply.text


@pytest.mark.parametrize(
    ("name", "data", "status", "words"),
    [
        ("a.csv", b"", 422, "the file is empty"),
        ("a.csv", b"x,y\n1,2\n", 422, "a.csv: 5 of 5 columns are missing"),
        ("a.csv", b"\x00\x01\x02", 422, "a.csv"),
        ("a.parquet", b"no parquet", 422, "a.parquet"),
        ("a.exe", b"x", 415, "'a.exe': expected a name ending in .csv"),
        ("", b"x", 415, "expected a name ending in .csv"),
        ("a.csv", b"x" * 60_000, 413, "the file is larger than 0.05 MB"),
        ("../../etc/a.csv", b"x,y\n1,2\n", 422, "a.csv: 5 of 5 columns are missing"),
    ],
)
def test_bad_uploads_get_one_sentence(client, name, data, status, words):
    reply = post(client, name, data)
    assert reply.status_code == status
    (sentence,) = reply.json().values()
    assert words in sentence and tempfile.gettempdir() not in sentence


def test_an_upload_without_a_length_is_limited_too(client):
    reply = client.post(
        "/predict", params={"name": "a.csv"}, content=(b"x" * 9999 for _ in range(9))
    )
    assert reply.status_code == 413


def test_nothing_is_kept(client, table, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert post(client, "a.csv", table.to_csv(index=False).encode()).status_code == 200
    assert post(client, "a.csv", b"x,y\n1,2\n").status_code == 422
    assert not list(Path(tmp_path).iterdir())


def test_a_slow_prediction_is_given_up(classes, monkeypatch):
    """What reads the file finds its end, so that the thread ends, too."""
    seen = threading.Event()

    def slow(predictor, path):
        while path.stat().st_size:
            time.sleep(0.01)
        seen.set()

    monkeypatch.setattr(service, "predict_path", slow)
    client = testclient.TestClient(make_app(classes, seconds=0.1), base_url=LOCAL)
    reply = post(client, "a.csv", b"x,y\n1,2\n")
    assert reply.status_code == 503 and "longer than 0.1 s" in reply.json()["error"]
    assert seen.wait(10)


def test_other_hosts_are_refused(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_an_address_in_use_is_named(classes):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OSError, match=f"serve on 127.0.0.1, port {port}: Address .* use$"
        ):
            serve(make_app(classes), "127.0.0.1", port)
    with pytest.raises(OSError, match=r"cannot serve on no.such.host.invalid, port 80"):
        serve(make_app(classes), "no.such.host.invalid", 80)


def test_users_at_once_do_not_mix(client, classes, table):
    parts = [table.iloc[i : i + 1 + i % 3] for i in range(12)]

    def ask(part):
        said = post(client, "a.csv", part.to_csv(index=False).encode()).json()
        return pd.DataFrame(said["columns"])

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, parts))
    for part, found in zip(parts, answers, strict=True):
        expected = classes.predict(part)
        pd.testing.assert_frame_equal(found, expected, atol=1e-5, check_dtype=False)
