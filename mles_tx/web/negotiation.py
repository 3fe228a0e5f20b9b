"""Which codings of a body a client takes, by its Accept-Encoding header (RFC 9110 section 12.5.3).

Plain functions: they must not know what the bodies are.
"""

import re
from functools import lru_cache

__all__ = ["CODINGS", "IDENTITY", "IDENTITY_ONLY", "acceptable_codings"]

#: The body as it is.
IDENTITY = "identity"

#: The codings we speak, those that make text smallest for the time they take first.
CODINGS = ("zstd", "br", "gzip")

#: What is left where nothing may be done to a body.
IDENTITY_ONLY: tuple[tuple[str, ...], ...] = ((IDENTITY,),)

#: An element of the list (RFC 9110 sections 12.4.2 and 12.5.3).
_ELEMENT = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?")

#: The name a coding had before there was a registry (RFC 9110 section 8.4.1.3).
_ALIASES = {"x-gzip": "gzip"}


@lru_cache(maxsize=256)
def acceptable_codings(header: bytes | None) -> tuple[tuple[str, ...], ...]:
    """The codings a client takes, grouped by how much it wants them.

    Args:
        header: the value of its Accept-Encoding header; None: it sent none.

    Returns:
        Groups of `CODINGS` and `IDENTITY`, the most wanted first; inside a group, ours to choose, in the order we
        prefer. Identity is in the last one, also when the client refuses it: it is what there always is.
    """
    if header is None:
        return IDENTITY_ONLY
    weights = _weights(header.decode("latin-1").lower())
    rest = weights.get("*", 0.0)
    wanted = {coding: weights.get(coding, rest) for coding in CODINGS}
    # Without a word about it, identity comes after all that is named.
    wanted[IDENTITY] = weights.get(IDENTITY, 0.0)
    levels = sorted({weight for weight in wanted.values() if weight > 0}, reverse=True)
    groups = [tuple(coding for coding in wanted if wanted[coding] == level) for level in levels]
    return (*groups, *(() if wanted[IDENTITY] > 0 else IDENTITY_ONLY))


def _weights(header: str) -> dict[str, float]:
    """The weight of each coding that is named. What cannot be understood is left out."""
    weights: dict[str, float] = {}
    for element in header.split(","):
        match = _ELEMENT.fullmatch(element)
        if match is not None:
            weights[_ALIASES.get(match[1], match[1])] = float(match[2] or 1)
    return weights
