"""How an update is written: which bytes stand for a float32 delta, and which delta they stand for.

A run chooses one encoding for all of its updates. `encode` and `decode` are pure; what the bytes of
a file mean is a float32 vector, the same wherever and in whatever portions it is decoded.
"""

from rondo_core.encodings.columns import DeltaColumns, Halves, ScaledBytes, Sparse
from rondo_core.encodings.files import UpdateForm, decode, encode, form_of, form_of_file
from rondo_core.encodings.names import Encoding, check_encoding, parse_encoding

__all__ = [
    "DeltaColumns",
    "Encoding",
    "Halves",
    "ScaledBytes",
    "Sparse",
    "UpdateForm",
    "check_encoding",
    "decode",
    "encode",
    "form_of",
    "form_of_file",
    "parse_encoding",
]
