"""What PyTorch computes where ifusion must agree with it, stored beside this script.

    python tests/reference/make_reference.py            writes the arrays anew
    python tests/reference/make_reference.py --check    compares them with the stored

Needs PyTorch, imports nothing of ifusion. Each file holds inputs and outputs. Inputs
are float32, outputs are computed from them in float64, so they serve both precisions.

A GRU layer is {"input": {"weight": (3H, F), "bias": (3H,)}, "kernel": (H, 3H), "bias":
(H,)}: W_i and b_i as in PyTorch, the transposed W_h ("kernel") and b_hn ("bias"). r and
z have no b_h of their own. A layer for single steps has no "kernel".

Axes: N sequences, B batch, T time, D steps of labels beyond T, F features, H hidden.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

HERE = Path(__file__).parent
NUM_FEATURES = {"audio": 3, "video": 5}
HIDDEN, CLASSES = 4, 3


# ---- inputs, numpy alone ----


def normal(rng, *shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def draw_linear(rng, inputs, outputs):
    kernel = normal(rng, inputs, outputs, scale=0.6)
    return {"kernel": kernel, "bias": normal(rng, outputs, scale=0.6)}


def draw_gru(rng, inputs, recurrent=True):
    layer = {
        "input": {
            "weight": normal(rng, 3 * HIDDEN, inputs, scale=0.6),
            "bias": normal(rng, 3 * HIDDEN, scale=0.6),
        },
        "bias": normal(rng, HIDDEN, scale=0.6),
    }
    if recurrent:
        layer["kernel"] = normal(rng, HIDDEN, 3 * HIDDEN, scale=0.6)
    return layer


def draw_network(rng, branches, heads, recurrent=True, joined=False):
    """Branches {name: F}, shared layers and heads {name: outputs}, a layer each."""
    shared = HIDDEN * len(branches) if joined else HIDDEN
    sizes = {f"branch_{name}": size for name, size in branches.items()}
    grus = {**sizes, "shared": shared}
    return {
        **{k: {"gru_0": draw_gru(rng, size, recurrent)} for k, size in grus.items()},
        **{k: draw_linear(rng, HIDDEN, size) for k, size in heads.items()},
    }


def mask_of(lengths, steps):
    """Sequences padded on the right."""
    return (np.arange(steps) < np.array(lengths)[:, None]).astype(np.float32)


def draw_classification(rng, lengths, steps):
    mask = mask_of(lengths, steps)
    labels = rng.integers(0, CLASSES, mask.shape) * mask.astype(int)
    features = {
        m: (normal(rng, *mask.shape, f) + np.eye(CLASSES, f, dtype=np.float32)[labels])
        * mask[..., None]
        for m, f in NUM_FEATURES.items()
    }
    labels = labels.astype(np.int32)[..., None]
    return {"features": features, "mask": mask, "labels": labels}


# ---- PyTorch ----


def tensors(tree, requires_grad=False):
    """Copies arrays as float64 tensors, indices as int64."""
    if isinstance(tree, dict):
        return {k: tensors(v, requires_grad) for k, v in tree.items()}
    x = torch.tensor(tree)
    if not x.is_floating_point():
        return x.long()
    return x.double().requires_grad_(requires_grad)


def leaves(tree):
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    return [tree]


def values(tree):
    if isinstance(tree, dict):
        return {k: values(v) for k, v in tree.items()}
    return tree.detach().numpy().copy()


def gradients(tree):
    if isinstance(tree, dict):
        return {k: gradients(v) for k, v in tree.items()}
    return tree.grad.numpy()


def run_gru(layer, inputs, initial=None):
    """`nn.GRU` with these weights: (B, T, F) and (B, H) or None -> (B, T, H)."""
    weight = layer["input"]["weight"]
    kernel = layer.get("kernel", weight.new_zeros(HIDDEN, 3 * HIDDEN))
    cell = nn.GRU(weight.shape[1], HIDDEN, batch_first=True, dtype=torch.float64)
    parameters = {
        "weight_ih_l0": weight,
        "weight_hh_l0": kernel.T,
        "bias_ih_l0": layer["input"]["bias"],
        "bias_hh_l0": torch.cat([weight.new_zeros(2 * HIDDEN), layer["bias"]]),
    }
    start = inputs.new_zeros(len(inputs), HIDDEN) if initial is None else initial
    outputs, _ = torch.func.functional_call(cell, parameters, (inputs, start[None]))
    return outputs


def run_linear(layer, inputs):
    return inputs @ layer["kernel"] + layer["bias"]


def modality_losses(params, features, mask, labels, hidden):
    """Eqs. 1 and 2 and the loss of each modality, and where its layers ended.

    hidden is {m: (branch, shared) or (None, None)}, (B, H) each.
    """
    losses, following = {}, {}
    for m, x in features.items():
        branch = run_gru(params[f"branch_{m}"]["gru_0"], x, hidden[m][0])
        shared = run_gru(params["shared"]["gru_0"], branch, hidden[m][1])
        logits = run_linear(params["output"], shared)
        losses[m] = cross_entropy(logits[mask > 0], labels[mask > 0])
        following[m] = (branch[:, -1].detach(), shared[:, -1].detach())
    return losses, following


# ---- what is stored: functions without arguments -> (inputs, outputs) ----


def losses():
    """Cross-entropy, squared error and 1 - CCC, and their gradients."""
    rng = np.random.default_rng(0)
    classes = {
        "logits": normal(rng, 4, 3, 5, scale=3),
        "labels": rng.integers(0, 5, (4, 3)),
        "mask": (rng.random((4, 3)) < 0.6).astype(np.float32),
    }
    labels = normal(rng, 4, 50)
    outputs = (0.6 * labels + normal(rng, 4, 50, scale=0.5))[..., None]
    mask = mask_of([50, 31, 2, 0], 50)  # the last sequence is empty
    regression = {"outputs": outputs, "labels": labels, "mask": mask}
    inputs = {"classification": classes, "regression": regression}

    given = tensors(classes)
    seen = given["mask"] > 0
    logits = given["logits"].requires_grad_()
    loss = cross_entropy(logits[seen], given["labels"][seen])
    loss.backward()
    stored = {"cross_entropy": {"loss": values(loss), "grad": logits.grad.numpy()}}

    def one_minus_ccc(x, y):
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        spread = x.var(correction=0) + y.var(correction=0)
        return 1 - 2 * covariance / (spread + (x.mean() - y.mean()) ** 2)

    def mean_one_minus_ccc(x, y, seen):
        rows = [(x[b, seen[b]], y[b, seen[b]]) for b in range(len(x)) if seen[b].any()]
        return sum(one_minus_ccc(*row) for row in rows) / len(rows)

    for name, function in {
        "squared_error": lambda x, y, seen: mse_loss(x[seen], y[seen]),
        "concordance_loss": lambda x, y, seen: one_minus_ccc(x[seen], y[seen]),
        "sequence_concordance_loss": mean_one_minus_ccc,
    }.items():
        given = tensors(regression)
        x = given["outputs"].requires_grad_()
        loss = function(x[..., 0], given["labels"], given["mask"] > 0)
        loss.backward()
        stored[name] = {"loss": values(loss), "grad": x.grad.numpy()}
    return inputs, stored


def teaching():
    """Cross-entropy with what a teacher says at a temperature, and its gradient."""
    rng = np.random.default_rng(6)
    inputs = {
        "logits": normal(rng, 4, 3, 5, scale=3),
        "teacher": normal(rng, 4, 3, 5, scale=2),
        "mask": (rng.random((4, 3)) < 0.6).astype(np.float32),
    }
    stored = {}
    for temperature in (1, 3):
        given = tensors(inputs)
        seen = given["mask"] > 0
        logits = given["logits"].requires_grad_()
        said = torch.softmax(given["teacher"] / temperature, -1)
        loss = cross_entropy(logits[seen] / temperature, said[seen])
        loss.backward()
        found = {"loss": values(loss), "grad": logits.grad.numpy()}
        stored[f"at_{temperature}"] = {"targets": values(said), **found}
    return inputs, stored


def gru():
    """Two GRU layers; one GRU from an initial state."""
    rng = np.random.default_rng(1)
    mask = mask_of([4, 2, 1], 4)
    stack = {
        "params": {"gru_0": draw_gru(rng, 5), "gru_1": draw_gru(rng, HIDDEN)},
        "features": normal(rng, *mask.shape, 5),
        "mask": mask,
        "weights": normal(rng, *mask.shape, HIDDEN) * mask[..., None],
    }
    given = tensors(stack, requires_grad=True)
    outputs = given["features"]
    for layer in given["params"].values():
        outputs = run_gru(layer, outputs)
    (outputs * given["weights"]).sum().backward()
    stored = {
        "stack": {
            "outputs": values(outputs),
            "grads": gradients(given["params"]),
            "feature_grads": given["features"].grad.numpy(),
        }
    }

    # time leads; gates are the products W_i x + b_i
    cell = {
        "gates": normal(rng, 7, 3, 3 * HIDDEN),
        "kernel": normal(rng, HIDDEN, 3 * HIDDEN),
        "bias": normal(rng, HIDDEN),
        "initial": normal(rng, 3, HIDDEN),
    }
    given = tensors(cell, requires_grad=True)
    identity = torch.eye(3 * HIDDEN, dtype=torch.float64)
    layer = {
        "input": {"weight": identity, "bias": torch.zeros_like(identity[0])},
        "kernel": given["kernel"],
        "bias": given["bias"],
    }
    outputs = run_gru(layer, given["gates"].transpose(0, 1), given["initial"])
    outputs = outputs.transpose(0, 1)
    count = torch.arange(1, outputs.numel() + 1).reshape(outputs.shape)
    ((torch.sin(outputs) * count).sum() / outputs.numel()).backward()
    stored["cell"] = {"outputs": values(outputs), "grads": gradients(given)}
    return {"stack": stack, "cell": cell}, stored


WEIGHTS = {
    "eq_3": {"audio": 1.0, "video": 0.5},
    "eq_4": {"audio": 0.25, "video": 1.0},
    "baseline": {"audio": 1.0, "video": 0.0},
    "penalty": {"audio": 1.0, "video": 0.5},  # Eq. 3 and an l2 on weights
}
L2 = 0.05


def training():
    """Updates by Adam on minibatches: each loss, and the parameters after the last."""
    rng = np.random.default_rng(2)
    lengths = [3, 1, 2, 3, 2, 1, 3, 2, 1, 3]
    order = np.array([rng.permutation(10) for _ in range(2)], np.int32)
    order = np.pad(order, [(0, 0), (0, 2)], constant_values=-1).reshape(6, 4)
    inputs, outputs = {"order": order}, {}
    for kind, steps in {"single": 1, "recurrent": 3}.items():
        inputs[kind] = {
            "params": draw_network(rng, NUM_FEATURES, {"output": CLASSES}, steps > 1),
            "data": draw_classification(rng, np.minimum(lengths, steps), steps),
        }
        outputs[kind] = {
            case: train(**inputs[kind], order=order, case=case) for case in WEIGHTS
        }
    return inputs, outputs


def train(params, data, order, case):
    params, data, history = tensors(params, requires_grad=True), tensors(data), []
    adam = torch.optim.Adam(leaves(params), lr=1e-3)
    fresh = dict.fromkeys(NUM_FEATURES, (None, None))
    for drawn in order:
        rows = drawn[drawn >= 0]
        features = {m: x[rows] for m, x in data["features"].items()}
        batch = features, data["mask"][rows], data["labels"][rows, :, 0]
        parts, _ = modality_losses(params, *batch, fresh)
        joint = sum(WEIGHTS[case][m] * loss for m, loss in parts.items())
        history.append(
            {"joint": joint.item(), **{m: x.item() for m, x in parts.items()}}
        )
        if case == "penalty":
            joint = joint + L2 * sum(
                x.square().sum() for x in leaves(params) if x.ndim > 1
            )
        adam.zero_grad()
        joint.backward()
        adam.step()
    losses = {k: np.array([update[k] for update in history]) for k in history[0]}
    return {"losses": losses, "params": values(params)}


WINDOWS, STEPS = 3, 4
# Recordings of each minibatch, as JAX draws them for epochs 1 and 2 of seed 3.
CARRIED_ORDER = [[[0, 2, 1, 5], [3, 4]], [[1, 0, 5, 3], [4, 2]]]


def carried():
    """Eq. 3 over windows, the hidden state carried from one to the next, and reset."""
    rng = np.random.default_rng(3)
    inputs = {
        "params": draw_network(rng, NUM_FEATURES, {"output": CLASSES}),
        "data": draw_classification(rng, [12, 5, 9, 12, 3, 7], WINDOWS * STEPS),
        "order": np.array([[*a, *b, -1, -1] for a, b in CARRIED_ORDER]),
    }
    return inputs, {
        name: train_on_windows(inputs["params"], inputs["data"], name == "carried")
        for name in ("carried", "reset")
    }


def train_on_windows(params, data, carry):
    params, data = tensors(params, requires_grad=True), tensors(data)
    adam = torch.optim.Adam(leaves(params), lr=1e-3)
    fresh = dict.fromkeys(NUM_FEATURES, (None, None))
    for rows in [rows for epoch in CARRIED_ORDER for rows in epoch]:
        hidden = fresh
        for part in torch.arange(WINDOWS * STEPS).split(STEPS):
            mask = data["mask"][rows][:, part]
            if not mask.any():
                continue
            features = {m: x[rows][:, part] for m, x in data["features"].items()}
            labels = data["labels"][rows][:, part, 0]
            parts, following = modality_losses(params, features, mask, labels, hidden)
            adam.zero_grad()
            sum(WEIGHTS["eq_3"][m] * loss for m, loss in parts.items()).backward()
            adam.step()
            hidden = following if carry else fresh
    return values(params)


KINDS = ("last", "mean", "attention")
LENGTHS = {"audio": [9, 2, 5, 1], "video": [3, 4, 1, 2]}


def pooled():
    """One answer a recording, read from its own steps; Eq. 3 and its gradients."""
    rng = np.random.default_rng(5)
    params = draw_network(rng, NUM_FEATURES, {"output": CLASSES})
    params["pooling"] = {"query": normal(rng, HIDDEN)}
    masks = {m: mask_of(lengths, max(lengths)) for m, lengths in LENGTHS.items()}
    data = {
        "features": {
            m: normal(rng, *masks[m].shape, f) for m, f in NUM_FEATURES.items()
        },
        "masks": masks,
        "labels": rng.integers(0, CLASSES, len(LENGTHS["audio"])),
    }
    outputs = {}
    for kind in KINDS:
        mine = tensors(params, requires_grad=True)
        logits = {m: pooled_logits(mine, kind, tensors(data), m) for m in NUM_FEATURES}
        labels = tensors(data)["labels"]
        loss = sum(
            WEIGHTS["eq_3"][m] * cross_entropy(x, labels) for m, x in logits.items()
        )
        used = {k: v for k, v in mine.items() if k != "pooling" or kind == "attention"}
        loss.backward()
        outputs[kind] = {
            "logits": values(logits),
            "loss": values(loss),
            "grads": gradients(used),
        }
    return {"params": params, "data": data}, outputs


def pooled_logits(params, kind, data, m):
    rows = []
    for x, mask in zip(data["features"][m], data["masks"][m], strict=True):
        x = x[None, : int(mask.sum())]
        hidden = run_gru(params[f"branch_{m}"]["gru_0"], x)
        hidden = run_gru(params["shared"]["gru_0"], hidden)[0]
        if kind == "last":
            pooled = hidden[-1]
        elif kind == "mean":
            pooled = hidden.mean(0)
        else:
            scores = hidden @ params["pooling"]["query"] / HIDDEN**0.5
            pooled = torch.softmax(scores, 0) @ hidden
        rows.append(run_linear(params["output"], pooled))
    return torch.stack(rows)


TARGET, DELAY, LAMBDA = 1, 1, 0.3


def joint_losses():
    """Losses of explicit fusion and multi-task learning of video, and their gradients.

    Two targets; J is that of the second, a frame later than the features.
    """
    rng = np.random.default_rng(4)
    ahead, mask = 2, mask_of([8, 8, 8, 8, 5, 0], 8)
    labelled = np.pad(mask, ((0, 0), (ahead, 0)), constant_values=1)
    labels = normal(rng, 6, 8 + ahead, 2)
    data = {
        "features": {
            m: normal(rng, 6, 8, f) * mask[..., None] for m, f in NUM_FEATURES.items()
        },
        "mask": mask,
        "labels": labels,
        "labelled": labelled * mask.any(1, keepdims=True),
        "extras": {"uncertainty": rng.random(labels.shape, np.float32)},
    }
    both, video = sum(NUM_FEATURES.values()), {"video": NUM_FEATURES["video"]}
    networks = {"early": ({"audio+video": both}, {}), "model-level": (NUM_FEATURES, {})}
    seconds = {"reconstruction": 5, "modalities": 3, "uncertainty": 1, "targets": 1}
    networks |= {row: (video, {"second": size}) for row, size in seconds.items()}
    params, outputs = {}, {}
    for row, (branches, heads) in networks.items():
        heads = {"output": 1, **heads}
        params[row] = draw_network(rng, branches, heads, joined=True)
        mine = tensors(params[row], requires_grad=True)
        loss = system_loss(row, mine, tensors(data))
        loss.backward()
        outputs[row] = {"loss": values(loss), "grads": gradients(mine)}
    return {"data": data, "params": params}, outputs


def system_loss(row, params, data):
    x, now, late = data["features"], data["mask"] > 0, slice(DELAY, DELAY + 8)
    labelled = now & (data["labelled"][:, late] > 0)
    if row == "early":
        inputs = {"audio+video": torch.cat([x["audio"], x["video"]], -1)}
    else:
        inputs = x if row == "model-level" else {"video": x["video"]}
    branches = [run_gru(params[f"branch_{k}"]["gru_0"], v) for k, v in inputs.items()]
    hidden = run_gru(params["shared"]["gru_0"], torch.cat(branches, -1))

    def task(head, labels):
        outputs = run_linear(params[head], hidden)[..., 0]
        return mse_loss(outputs[labelled], labels[:, late][labelled])

    def reconstruction(features):
        return mse_loss(run_linear(params["second"], hidden)[now], features[now])

    loss = task("output", data["labels"][..., TARGET])
    if row == "reconstruction":
        return loss + LAMBDA * reconstruction(x["video"])
    if row == "modalities":
        return loss + LAMBDA * reconstruction(x["audio"])
    if row == "uncertainty":
        return loss + LAMBDA * task(
            "second", data["extras"]["uncertainty"][..., TARGET]
        )
    if row == "targets":
        return loss + LAMBDA * task("second", data["labels"][..., 1 - TARGET])
    return loss


# ---- files ----

REFERENCES = {
    f.__name__: f
    for f in (losses, teaching, gru, training, carried, pooled, joint_losses)
}


def flatten(tree, path=""):
    """Nested dicts -> {"a/b/c": array}."""
    if not isinstance(tree, dict):
        return {path.removeprefix("/"): np.asarray(tree)}
    pairs = [
        pair for k, v in tree.items() for pair in flatten(v, f"{path}/{k}").items()
    ]
    return dict(pairs)


def make(name):
    """Makes the arrays of a file: {path: array}."""
    inputs, outputs = REFERENCES[name]()
    return flatten({"inputs": inputs, "outputs": outputs})


def check(name):
    """Compares the arrays of a file with those made now.

    Raises:
      AssertionError: they differ by more than versions of PyTorch do.
    """
    made = make(name)
    with np.load(HERE / f"{name}.npz", allow_pickle=False) as stored:
        assert set(stored) == set(made), name
        for path, value in stored.items():
            assert value.dtype == made[path].dtype, path
            np.testing.assert_allclose(
                made[path], value, rtol=1e-6, atol=1e-12, err_msg=f"{name}: {path}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    checks = parser.parse_args().check
    for name in REFERENCES:
        if checks:
            check(name)
        else:
            np.savez_compressed(HERE / f"{name}.npz", **make(name))
    print(f"{'checked' if checks else 'wrote'} {', '.join(REFERENCES)}")


if __name__ == "__main__":
    main()
