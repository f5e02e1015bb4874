"""Near-duplicates: pictures that are copies of each other but for size, compression, tone or a mirror."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slipstream.data.looks import Look

MAX_DISTANCE = 12
"""Bits of two fingerprints that may differ; those of unrelated photographs differ in 20 and more."""

MIN_SIMILARITY = 0.93
"""Correlation of two signatures from which pictures count as the same: drawings of one subject stay below."""


@dataclass(frozen=True)
class Twin:
    """One picture of a group, compared with the group's first.

    Attributes:
        distance: differing bits of 63.
        similarity: correlation of colours at 16 x 16, at most 1.
        mirrored: whether it is alike when mirrored left to right.
        identical: whether the files hold the same bytes.
    """

    path: Path
    distance: int
    similarity: float
    mirrored: bool
    identical: bool


@dataclass(frozen=True)
class DuplicateGroup:
    """Pictures that are alike; the first has the most pixels, then the most detail, and is the one to keep."""

    twins: tuple[Twin, ...]


@dataclass(frozen=True)
class Candidate:
    """A picture to compare."""

    path: Path
    pixels: int
    content_hash: str
    look: Look


def find_duplicates(candidates: Sequence[Candidate]) -> tuple[DuplicateGroup, ...]:
    """Groups of two and more; a picture joins a group when it is like any member of it."""
    group_of = list(range(len(candidates)))

    def root(index: int) -> int:
        while group_of[index] != index:
            group_of[index] = index = group_of[group_of[index]]
        return index

    plain = np.array([one.look.fingerprint for one in candidates], dtype=np.uint64)
    for index, one in enumerate(candidates):
        others = plain[index + 1 :]
        near = np.bitwise_count(others ^ np.uint64(one.look.fingerprint)) <= MAX_DISTANCE
        near |= np.bitwise_count(others ^ np.uint64(one.look.mirrored)) <= MAX_DISTANCE
        for place in np.flatnonzero(near):
            other = index + 1 + int(place)
            if _alike(_compared(one, candidates[other])):
                group_of[root(other)] = root(index)
    groups: dict[int, list[Candidate]] = {}
    for index, one in enumerate(candidates):
        groups.setdefault(root(index), []).append(one)
    return tuple(_group(members) for members in groups.values() if len(members) > 1)


def _group(members: Sequence[Candidate]) -> DuplicateGroup:
    first = max(members, key=lambda one: (one.pixels, one.look.sharpness))
    others = [_compared(first, one) for one in members if one is not first]
    others.sort(key=lambda twin: (-twin.identical, twin.mirrored, twin.distance, str(twin.path)))
    return DuplicateGroup((_compared(first, first), *others))


def _compared(one: Candidate, other: Candidate) -> Twin:
    """`other` as a twin of `one`, mirrored or not, whichever is nearer."""
    a, b = one.look, other.look
    straight = (a.fingerprint ^ b.fingerprint).bit_count(), float((a.signature * b.signature).sum())
    turned = (a.mirrored ^ b.fingerprint).bit_count(), float((a.signature[:, ::-1] * b.signature).sum())
    mirrored = turned[1] > straight[1] and _close(*turned)
    distance, similarity = turned if mirrored else straight
    return Twin(other.path, distance, min(1.0, similarity), mirrored, one.content_hash == other.content_hash)


def _alike(twin: Twin) -> bool:
    return twin.identical or _close(twin.distance, twin.similarity)


def _close(distance: int, similarity: float) -> bool:
    return distance <= MAX_DISTANCE and similarity >= MIN_SIMILARITY
