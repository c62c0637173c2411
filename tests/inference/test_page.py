"""The page in a browser, as users see it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("httpx")
pytest.importorskip("uvicorn")

from browser import browser, driver, free_port, programs, wait

from ifusion.inference.bundle import write_bundle
from ifusion.inference.opening import load_predictor

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        programs() is None, reason="needs chromium and chromedriver on the PATH"
    ),
]


@pytest.fixture(scope="module")
def chromium():
    with driver() as client:
        yield client


@pytest.fixture
def serve(tmp_path):
    """Starts serve.py with a predictor; returns the address of its page."""
    running = []

    def start(predictor):
        write_bundle(predictor, tmp_path / "model.ifusion")
        port = free_port()
        flags = [f"--model={tmp_path / 'model.ifusion'}", f"--port={port}"]
        process = subprocess.Popen(
            [sys.executable, "experiments/serve.py", *flags],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        return f"http://127.0.0.1:{port}"

    yield start
    for process in running:
        process.terminate()
        process.wait()
        process.stdout.close()


def open_page(page, url):
    """Opens the page, which may not listen yet."""

    def opened():
        page.open(url)
        return page.run("return document.title").startswith("ifusion")

    def tried():
        try:
            return opened()
        except AssertionError:  # the browser could not connect
            return False

    wait(tried)


def test_tables_are_answered_and_errors_are_sentences(
    chromium, serve, trained, small, table_of, tmp_path
):
    predictor = load_predictor(trained, "audio")
    table = table_of(small, "audio", "dev").iloc[:3]
    table.to_csv(tmp_path / "features.csv", index=False)
    table.drop(columns=table.columns[0]).to_csv(tmp_path / "less.csv", index=False)
    table.iloc[:1].to_csv(tmp_path / "one.csv", index=False)
    (tmp_path / "clip.wav").write_bytes(b"RIFF")
    url = serve(predictor)
    with browser(chromium) as page:
        open_page(page, url)
        assert page.run("return document.getElementById('record').hidden")
        page.upload(tmp_path / "features.csv")
        lines = page.text().splitlines()
        expected = predictor.predict(table)
        for i, emotion in enumerate(expected["emotion"]):
            (line,) = [x for x in lines if x.startswith(f"row {i + 1}")]
            assert emotion in line
        page.upload(tmp_path / "one.csv")
        wait(lambda: page.text().startswith(expected["emotion"][0]))
        page.upload(tmp_path / "less.csv")
        wait(lambda: page.text().startswith("less.csv: 1 of 5 columns are missing"))
        assert page.run("return document.querySelectorAll('.error').length") == 1
        page.upload(tmp_path / "clip.wav")
        wait(lambda: "clips cannot be read here: the model names no" in page.text())


def test_two_users_at_once_do_not_mix(
    chromium, serve, trained_series, series, table_of, tmp_path
):
    predictor = load_predictor(trained_series, "audio")
    table = table_of(series, "audio", "dev").iloc[:90]
    halves = {"first": table.iloc[:30], "second": table.iloc[30:]}
    for name, part in halves.items():
        keyed = part.assign(recording=f"{name} half")
        keyed.to_csv(tmp_path / f"{name}.csv", index=False)
    url = serve(predictor)
    with browser(chromium) as one, browser(chromium) as two:
        for page in (one, two):
            open_page(page, url)
        one.upload(tmp_path / "first.csv")
        two.upload(tmp_path / "second.csv")
        for page, name in ((one, "first"), (two, "second")):
            assert page.text().startswith(f"{name} half")
            values = predictor.predict(halves[name])[list(predictor.targets)]
            drawn = page.run(
                "return [...document.querySelectorAll('polyline')].map("
                "line => line.getAttribute('points').split(' ').map("
                "pair => Number(pair.split(',')[1])))"
            )
            low, high = values.to_numpy().min(), values.to_numpy().max()
            heights = 190 - 175 * (values.to_numpy().T - low) / (high - low)
            np.testing.assert_allclose(drawn, heights, atol=0.01)


def test_clips_are_uploaded_and_recorded(chromium, serve, trained, tmp_path):
    """Of a model whose 5 features are those of the extractor."""
    pytest.importorskip("opensmile")
    pytest.importorskip("av")
    from media_files import tone, write_sound

    from ifusion.features import audio
    from ifusion.features.media import Recording

    clip = write_sound(tmp_path / "clip.wav", tone(2.0))
    found = audio.functionals(Recording(clip))
    names = found.names[:5]
    predictor = replace(
        load_predictor(trained, "audio"),
        features={"audio": names},
        provenance={"audio": {"asked": "egemaps", "rate": None, "step": None}},
    )
    table = pd.DataFrame(found.values[:, :5], columns=names)
    expected = predictor.predict_table(table).table["emotion"][0]
    with browser(chromium) as page:
        open_page(page, serve(predictor))
        page.upload(clip)
        assert f"clip: {expected}" in page.text()
        page.click("#toggle")
        wait(lambda: page.run("return state.textContent") == "0:02")
        page.click("#toggle")
        wait(lambda: "recording: " in page.text())
        assert not page.run("return document.querySelectorAll('.error').length")
