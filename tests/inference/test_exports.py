"""ONNX and StableHLO against the predictor that they are made of."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from ifusion.inference.exporting import export_model, try_out
from ifusion.inference.opening import load_predictor
from ifusion.inference.stablehlo import make_stablehlo

ROOT = Path(__file__).resolve().parents[2]
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from ifusion.inference.onnx_graph import make_onnx  # noqa: E402


def run_onnx(model):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (entry,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return lambda x: dict(zip(names, session.run(None, {entry.name: x}), strict=True))


def run_stablehlo(predictor):
    return jax.export.deserialize(bytearray(make_stablehlo(predictor))).call


@pytest.fixture(
    params=[
        "classes",
        "curves",
        pytest.param("cnn", marks=pytest.mark.slow),
        pytest.param("re_two_stage", marks=pytest.mark.slow),
        "processed",
        "clipped",
    ],
    scope="module",
)
def predictor(request, trained, trained_series, causal, ahead):
    """Utterances, frames, two stages, and all that may be done before and after."""
    if request.param == "classes":
        return load_predictor(trained, "video")
    if request.param == "curves":
        return load_predictor(trained_series, "audio")
    if request.param in ("cnn", "re_two_stage"):
        staged = request.getfixturevalue("staged")
        return load_predictor(staged, "audio", request.param)
    found = load_predictor(trained_series, "video", "baseline")
    statistics = {"mean": np.full(3, 1e5), "std": np.array([1.0, 0.0, 3.0])}
    if request.param == "clipped":
        statistics |= {"low": np.array([-np.inf, 0, 1e5]), "high": np.full(3, 1e5 + 2)}
    members = [
        replace(
            member,
            delay=7 + i,
            scale=(20.0, 5.0),
            adjustments=(*ahead, *causal),
            statistics={"video": statistics},
        )
        for i, member in enumerate(found.members)
    ]
    return replace(found, members=tuple(members))


def test_onnx_answers_as_the_predictor(predictor):
    assert try_out(predictor, run_onnx(make_onnx(predictor))) < 1e-5


def test_stablehlo_answers_as_the_predictor(predictor):
    assert try_out(predictor, run_stablehlo(predictor)) < 1e-5


def test_a_graph_of_one_length_takes_any(predictor):
    """Any number of recordings and frames; a recording alone is as in company."""
    call, stable = run_onnx(make_onnx(predictor)), run_stablehlo(predictor)
    (names,) = predictor.features.values()
    rng = np.random.default_rng(1)
    found = next(iter(predictor.members[0].statistics.values()))
    for shape in ((3, 11), (1, 70), (2, 1)):
        shape = shape if predictor.over_time else shape[1:]
        noise = rng.standard_normal((*shape, len(names)))
        x = (found["mean"] + found["std"] * noise).astype(np.float32)
        whole, alone = call(x), call(x[:1])
        other = stable(x)
        for name, values in whole.items():
            assert values.shape[: len(shape)] == shape
            np.testing.assert_allclose(values[:1], alone[name], atol=1e-5, rtol=1e-5)
            if name in other:
                np.testing.assert_allclose(values, other[name], atol=1e-5, rtol=1e-5)


def test_a_graph_says_what_it_reads_and_answers(trained):
    predictor = load_predictor(trained, "audio")
    model = make_onnx(predictor)
    assert [x.name for x in model.graph.input] == ["audio"]
    assert [x.name for x in model.graph.output] == ["probabilities", "emotion"]
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert tuple(json.loads(facts["features"])) == predictor.features["audio"]
    assert tuple(json.loads(facts["classes"])) == predictor.classes
    assert json.loads(facts["provenance"]) == predictor.provenance["audio"]
    grus = [node for node in model.graph.node if node.op_type == "GRU"]
    assert len(grus) == 2 * len(predictor.members)
    for node in grus:
        (flag,) = [a.i for a in node.attribute if a.name == "linear_before_reset"]
        assert flag == 1
    x = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
    found = run_onnx(model)(x)
    assert (found["emotion"] == found["probabilities"].argmax(-1)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "main", "system", "words"),
    [
        (
            "model.onnx",
            "audio",
            "svr",
            "svr is not a chain .* means and deviations of win",
        ),
        ("model.stablehlo", "audio", "svr", "svr is not a chain of layers"),
        (
            "model.pt",
            "audio",
            "svr",
            "expected a name ending in one of .ifusion, .onnx",
        ),
    ],
)
def test_what_cannot_be_written_is_told(staged, tmp_path, name, main, system, words):
    with pytest.raises(ValueError, match=words):
        export_model(staged, main, system, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_every_form_is_tried_before_it_is_kept(trained, tmp_path):
    for name in ("model.ifusion", "model.onnx", "model.stablehlo"):
        first, *_, card = export_model(
            trained, "audio", "implicit_fusion", tmp_path / name, seeds=["1"]
        )
        assert first.startswith(f"{tmp_path / name}: 0.")
        assert "seeds 1;" in card
    with pytest.raises(ValueError, match="'x' is not a number"):
        export_model(trained, "audio", "baseline", tmp_path / "m.onnx", seeds=["x"])


def test_the_documentation_runs_both_files(trained, tmp_path, monkeypatch, capsys):
    """The blocks of docs/deployment.md, one after another, as they are printed."""
    text = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    mine = [b for b in blocks if "onnxruntime" in b or "from jax import export" in b]
    assert len(mine) == 2 and "ifusion" not in "".join(mine)
    monkeypatch.chdir(tmp_path)
    for name in ("model.onnx", "model.stablehlo"):
        export_model(trained, "audio", "implicit_fusion", tmp_path / name)
    space = {}
    for block in mine:
        exec(block, space)
    assert len(space["probabilities"]) == 3
    assert set(ast.literal_eval(capsys.readouterr().out)) <= set(space["classes"])


def test_a_model_that_answers_otherwise_is_refused(trained):
    predictor = load_predictor(trained, "audio")
    wrong = {"probabilities": np.full((120, 3), 1 / 3)}
    with pytest.raises(ValueError, match="the exported model differs from the run by"):
        try_out(predictor, lambda x: wrong)


def test_a_chain_that_leaves_something_out_is_refused(trained):
    """A system that does more than its layers is never exported in silence."""
    predictor = load_predictor(trained, "audio")
    predictor.__dict__["run"] = lambda params, x, mask: np.ones((*mask.shape, 3))
    with pytest.raises(ValueError, match="cannot be run layer by layer"):
        make_onnx(predictor)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["baseline", "re_two_stage"])
def test_a_graph_with_its_state_streams(trained_series, staged, causal, system):
    """Frame by frame in ONNX Runtime, as a stream without what moves in time."""
    folder = trained_series if system == "baseline" else staged
    found = load_predictor(folder, "audio", system)
    members = [replace(m, delay=5, adjustments=causal[:2]) for m in found.members]
    predictor = replace(found, members=tuple(members))
    still = replace(found, members=tuple(replace(m, delay=0) for m in members))
    model = make_onnx(predictor, stream=True)
    call = run_onnx_stream(model)
    x = np.random.default_rng(3).standard_normal((25, 5)).astype(np.float32)
    expected = still.stream().push(x)
    rows = [call(x[None, i : i + 1]) for i in range(25)]
    for target in predictor.targets:
        values = np.concatenate([row[target][0] for row in rows])
        np.testing.assert_allclose(values, expected[target], atol=1e-5)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["delay"]) == dict.fromkeys(predictor.targets, 0.2)


def run_onnx_stream(model):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    main, *states = session.get_inputs()
    held = {s.name: np.zeros((1, 1, s.shape[2]), np.float32) for s in states}
    names = [output.name for output in session.get_outputs()]

    def call(x):
        run = session.run(None, {main.name: x, **held})
        out = dict(zip(names, run, strict=True))
        for name in held:
            held[name] = out[name.replace("state", "next")]
        return out

    return call


@pytest.mark.slow
def test_what_cannot_stream_in_onnx_is_told(trained, staged, trained_series):
    for folder, system, words in (
        (trained, "baseline", "each on its own"),
        (staged, "cnn", "looks .* frames ahead"),
    ):
        with pytest.raises(ValueError, match=words):
            make_onnx(load_predictor(folder, "audio", system), stream=True)
    found = load_predictor(trained_series, "audio", "baseline")
    members = [replace(m, delay=i) for i, m in enumerate(found.members)]
    with pytest.raises(ValueError, match="have different delays"):
        make_onnx(replace(found, members=tuple(members)), stream=True)
