"""Quickstart for an operator: register a model, invite two data owners, start a run, watch it.

Needs a gateway (`rondo up`) at RONDO_URL and the operators' token in RONDO_TOKEN. Each `# %%` is a
cell where editors know them.
"""

# %% Where the federation is
import os

import numpy as np
from sklearn.datasets import load_digits

import rondo

operator = rondo.Operator(
    os.environ.get("RONDO_URL", "http://127.0.0.1:8080"), os.environ["RONDO_TOKEN"]
)

# %% What is to be learned: data, not code. Every layer has a name, and the document a digest.
spec = {
    "model": "quickstart",
    "input": {"kind": "image", "height": 8, "width": 8, "maximum": 16},
    "layers": [
        {"kind": "Flatten", "name": "flat"},
        {"kind": "Dense", "name": "scores", "units": 10, "activation": "softmax"},
    ],
    "output": {"kind": "classes", "labels": [str(digit) for digit in range(10)]},
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
    "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.3},
}

# %% Register it with the examples that every version will be judged on
digits = load_digits()
holdout = np.arange(len(digits.target)) % 5 == 0
operator.register_model(spec, digits.images[holdout], digits.target[holdout])

# %% One invite for each data owner
for invite in operator.invites("quickstart", 2):
    print("invite", invite, flush=True)

# %% Start a run, and watch it until it is over
run_id = operator.start_run("quickstart", rounds=8, target=2, quorum=2)
for run in operator.watch(run_id):
    newest = run.versions[-1] if run.versions else None
    if newest is not None and newest.metrics:
        print(f"version {newest.version - 1}: accuracy {newest.metrics['accuracy']:.3f}")
print(run.state, run.reason)
