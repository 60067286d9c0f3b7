"""Quickstart for a data owner: five of the ten digits are here, and the model learns all ten.

Needs `pip install 'rondo[keras]'`, a gateway at RONDO_URL, and an invite to the model that
`quickstart_operator.py` registered in RONDO_INVITE. Each `# %%` is a cell where editors know them.
"""

# %% Your own data: it never leaves this program
import os

import numpy as np
from sklearn.datasets import load_digits

import rondo

digits = load_digits()
mine = (np.arange(len(digits.target)) % 5 != 0) & (digits.target < 5)  # noqa: PLR2004

# %% Join. The invite is spent once; afterwards the key that is kept on this machine is enough.
federation = rondo.connect(
    os.environ.get("RONDO_URL", "http://127.0.0.1:8080"),
    invite=os.environ["RONDO_INVITE"],
    name="low-digits",
)

# %% Train: waits for the operator to start a run, and returns when it is over
result = federation.train(digits.images[mine], digits.target[mine])

# %% What became of it
print(result.state, result.reason)
