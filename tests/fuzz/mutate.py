"""Damage as disks, networks and people do it, from one source of random numbers."""

from random import Random

TOKENS = (
    *(b'"', b'""', b'"\n', b'\n"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\n\n", b" ", b"x,y,z\n"),
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\x1b[31m"),
    *(b"{", b"}", b"[", b"]", b"[[[[", b":", b"null", b"NaN", b"1e999", b"-0.0", b"\\", b"\\ud800", b"\\u0000", b"9" * 30),
    b'{"text": "x", "label": "pos"}\n',
)


def mutated(content: bytes, random: Random) -> bytes:
    """One to four mutations; in one case of twenty none."""
    if random.random() < 0.05:
        return content
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        content = random.choice(MUTATIONS)(content, random)
    return content


def flip_bits(content: bytes, random: Random) -> bytes:
    """Other bits in up to eight places."""
    changed = bytearray(content)
    for _ in range(random.randrange(1, 9) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut_end(content: bytes, random: Random) -> bytes:
    """A delivery that broke off; sometimes only its last few bytes are missing."""
    return content[: random.choice((random.randint(0, len(content)), max(0, len(content) - random.randrange(1, 30))))]


def cut_out(content: bytes, random: Random) -> bytes:
    """A hole."""
    start, end = _span(content, random)
    return content[:start] + content[end:]


def double(content: bytes, random: Random) -> bytes:
    """A chunk that is there twice."""
    start, end = _span(content, random)
    return content[:end] + content[start:end] + content[end:]


def splice(content: bytes, random: Random) -> bytes:
    """Copies a chunk to another place."""
    start, end = _span(content, random)
    place = random.randint(0, len(content))
    return content[:place] + content[start:end] + content[place:]


def swap(content: bytes, random: Random) -> bytes:
    """Two chunks that changed places."""
    a, b, c, d = sorted(random.randint(0, len(content)) for _ in range(4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def insert(content: bytes, random: Random) -> bytes:
    """Up to five insertions of what means something to some format, or of random bytes."""
    for _ in range(random.randrange(1, 6)):
        place = random.randint(0, len(content))
        new = random.choice(TOKENS) if random.random() < 0.8 else random.randbytes(random.randrange(1, 20))
        content = content[:place] + new + content[place:]
    return content


def zero_run(content: bytes, random: Random) -> bytes:
    """A run of zeros where something stood, as a disk leaves it behind a power cut."""
    start, end = _span(content, random)
    return content[:start] + bytes(end - start) + content[end:]


def append(content: bytes, random: Random) -> bytes:
    """Itself, zeros or junk behind the end."""
    return content + random.choice((content, bytes(random.randrange(1, 600)), random.randbytes(50), b"\n", b"\n\n"))


MUTATIONS = (flip_bits, cut_end, cut_out, double, splice, swap, insert, insert, zero_run, append)


def _span(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randint(0, len(content))
    return start, min(len(content), start + random.choice((1, 4, 40, 512, 4096)))
