"""The index of known reviews against a plain dictionary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lake.known import OTHER, SAME, UNSEEN, KeyIndex, contents_of, keys_of

batches = st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), max_size=20), max_size=12)


@given(batches)
def test_classifies_like_a_dictionary(batches: list[list[tuple[int, int]]]) -> None:
    index, reference = KeyIndex(), {}
    for batch in batches:
        expected = []
        for key, content in batch:
            known = reference.setdefault(key, None)
            expected.append(UNSEEN if known is None else SAME if known == content else OTHER)
            if known is None:
                reference[key] = content
        keys, contents = (np.array([pair[i] for pair in batch], np.uint64) for i in (0, 1))
        assert index.classify_and_add(keys, contents).tolist() == expected
    assert len(index) == len(reference)


def test_keys_and_contents_are_the_first_64_bits() -> None:
    assert keys_of(["abc"]).tolist() == [0xBA7816BF8F01CFEA]
    assert contents_of(["ba7816bf8f01cfea" + "0" * 48]).tolist() == [0xBA7816BF8F01CFEA]
