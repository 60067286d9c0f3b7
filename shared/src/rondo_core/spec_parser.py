"""Reading a model spec: types and bounds first, then the rules that tie its parts together.

Every error names the place in the JSON document, the value found and the rule.
"""

import re
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from rondo_core import model_layers, model_spec
from rondo_core.errors import SpecInvalid
from rondo_core.events import Scalar
from rondo_core.model_rules import check_model_spec
from rondo_core.model_spec import ModelSpec, TrainingParameters

__all__ = ["encode_model_spec", "parse_model_spec", "training_parameters"]

MAX_SPEC_BYTES = 4 * 1024 * 1024
"""Room for vocabularies of many thousand words; a document that is larger is not a spec."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def encode_model_spec(spec: ModelSpec) -> bytes:
    """Return the canonical JSON: sorted keys, no spaces, every field written out, also where it is the default.

    Example:
        >>> encode_model_spec(TrainingParameters(epochs=2))[:30]
        b'{"batch_size":32,"epochs":2,"l'
    """
    return msgspec.json.encode(spec, order="sorted")
