"""Small audiovisual data that several rooms are tested on.

Axes: N sequences, T time, F features (3 audio, 5 video), C = 3 classes.
"""

import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from jax.sharding import Mesh
from numpy_gru import numpy_stack  # noqa: F401 - a fixture of two rooms
from small_runs import (  # noqa: F401 - fixtures of several rooms
    assert_same_runs,
    clips,
    options,
    rated_clips,
    sentiments,
    series,
    small,
    time_options,
    trained,
    trained_series,
    value_run,
)

from ifusion.core import init_params
from ifusion.corpora.corpus import Corpus, Modality
from ifusion.preprocessing.sequences import Batch

NUM_FEATURES = {"audio": 3, "video": 5}
REFERENCE = Path(__file__).parent / "reference"


def pytest_configure(config):
    """Keeps compiled programs in pytest's cache: for all workers, and the next run.

    The environment tells the programs that tests start. A folder of the user's stays.
    These programs also hear Ctrl-C, which a shell lets jobs in the background ignore.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or not hasattr(config, "cache"):
        return
    settings = {
        "jax_compilation_cache_dir": str(config.cache.mkdir("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    for name, value in settings.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def num_features():
    return dict(NUM_FEATURES)


@pytest.fixture(scope="session")
def mesh():
    return Mesh(np.array(jax.devices()[:1]), ("lanes",))


@pytest.fixture(scope="module")
def unoptimised():
    """Compiles faster what runs once, here and in programs that a test starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def reference():
    """Reads what PyTorch computed in float64, see `reference/make_reference.py`."""

    def read(name, dtype=np.float32):
        """Returns (inputs, outputs), nested dicts; floats of the inputs as dtype."""
        with np.load(REFERENCE / f"{name}.npz", allow_pickle=False) as arrays:
            stored = unflatten_dict(dict(arrays), sep="/")
        inputs = jax.tree.map(
            lambda x: x.astype(dtype) if x.dtype.kind == "f" else x, stored["inputs"]
        )
        return inputs, stored["outputs"]

    return read


@pytest.fixture(scope="session")
def make_data():
    """Sequences of random lengths, padded on the right; labels that can be learnt."""

    def make(num_sequences, length=1, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, (num_sequences, length))
        lengths = rng.integers(1, length + 1, num_sequences)
        lengths[:1] = length
        mask = (np.arange(length) < lengths[:, None]).astype(dtype)
        # float32 values in every type: the same data, so the same minibatches
        features = {
            m: (
                (
                    rng.standard_normal((num_sequences, length, size))
                    + 0.7 * np.eye(3, size)[labels]
                )
                * mask[..., None]
            )
            .astype(np.float32)
            .astype(dtype)
            for m, size in NUM_FEATURES.items()
        }
        labels = np.where(mask > 0, labels, 0).astype(np.int32)[..., None]
        return Batch(features, mask, labels, mask)

    return make


@pytest.fixture(scope="session")
def draw_like():
    """Replaces every array of a nested dict by a random one, so that none is zero."""

    def draw(tree, dtype=np.float32, seed=0):
        rng = np.random.default_rng(seed)
        return jax.tree.map(
            lambda x: (0.6 * rng.standard_normal(x.shape)).astype(dtype), tree
        )

    return draw


@pytest.fixture(scope="session")
def draw_params(draw_like):
    """Parameters of an ImplicitFusion, drawn without compiling anything."""

    def draw(model, dtype=np.float32):
        sizes = {m: NUM_FEATURES[m] for m in model.modalities}
        shapes = jax.eval_shape(
            lambda key: init_params(model, key, sizes), jax.random.key(0)
        )
        return draw_like(shapes, dtype)

    return draw


@pytest.fixture
def corpus():
    """Seven utterances of three videos, the partitions interleaved."""
    rng = np.random.default_rng(1)
    values = {m: rng.normal(5, 3, (7, f)) for m, f in NUM_FEATURES.items()}
    return Corpus(
        name="small",
        recording=np.array([f"r{i}" for i in range(7)]),
        partition=np.array(["train", "dev", "train", "train", "dev", "test", "train"]),
        speaker=np.array(["a", "b", "a", "c", "b", "d", "a"]),
        modalities={
            m: Modality(tuple(f"{m}{i}" for i in range(v.shape[1])), v)
            for m, v in values.items()
        },
        targets=("emotion",),
        labels=np.array([[0], [1], [2], [1], [0], [-1], [2]]),
        classes=("anger", "happy", "sad"),
        attributes={"video": np.array(["x", "y", "x", "z", "y", "w", "x"])},
    )
