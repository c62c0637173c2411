"""ONNX and StableHLO against the predictor that they are made of."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from ifusion.inference.exporting import export_model, try_out
from ifusion.inference.opening import load_predictor
from ifusion.inference.stablehlo import make_stablehlo

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
    params=["classes", "curves", "cnn", "re_two_stage", "processed", "clipped"],
    scope="module",
)
def predictor(request, trained, trained_series, staged, causal, ahead):
    """Utterances, frames, two stages, and all that may be done before and after."""
    if request.param == "classes":
        return load_predictor(trained, "video")
    if request.param == "curves":
        return load_predictor(trained_series, "audio")
    if request.param in ("cnn", "re_two_stage"):
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
    grus = [node for node in model.graph.node if node.op_type == "GRU"]
    assert len(grus) == 2 * len(predictor.members)
    for node in grus:
        (flag,) = [a.i for a in node.attribute if a.name == "linear_before_reset"]
        assert flag == 1
    x = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
    found = run_onnx(model)(x)
    assert (found["emotion"] == found["probabilities"].argmax(-1)).all()


@pytest.mark.parametrize(
    ("name", "main", "system", "words"),
    [
        (
            "model.onnx",
            "audio",
            "svr",
            "svr is no chain .* means and deviations of win",
        ),
        ("model.stablehlo", "audio", "svr", "svr is no chain of layers"),
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
    with pytest.raises(ValueError, match="'x' is no seed"):
        export_model(trained, "audio", "baseline", tmp_path / "m.onnx", seeds=["x"])


def test_a_model_that_answers_otherwise_is_refused(trained):
    predictor = load_predictor(trained, "audio")
    wrong = {"probabilities": np.full((120, 3), 1 / 3)}
    with pytest.raises(ValueError, match="the exported model differs from the run by"):
        try_out(predictor, lambda x: wrong)


def test_a_chain_that_leaves_something_out_is_refused(trained):
    """A system that does more than its layers tell is never exported in silence."""
    predictor = load_predictor(trained, "audio")
    predictor.__dict__["run"] = lambda params, x, mask: np.ones((*mask.shape, 3))
    with pytest.raises(ValueError, match="does more than its layers tell"):
        make_onnx(predictor)
