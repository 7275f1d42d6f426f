"""What a disk may hold after a power cut, from the trace of file operations that the shim wrote.

The model is stricter than most file systems: a file's content survives only what `fsync` of the file wrote down, a name only
what `fsync` of its folder did; what was not synced may have reached the disk or not, each item by itself. A rename happens
whole or not at all.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(eq=False)
class File:
    """Content as programs see it, and as the disk has it for certain."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


@dataclass(eq=False)
class Folder:
    """Entries as programs see them, and as the disk has them for certain."""

    entries: "dict[str, Node]" = field(default_factory=dict)
    durable: "dict[str, Node]" = field(default_factory=dict)


Node = File | Folder
Change = list[tuple[Folder, str, Node | None]]
"""Entries that one operation sets or, with None, removes."""


class Disk:
    """Replays a trace up to any operation."""

    def __init__(self, before: Path, inodes: dict[int, Path], place: Path) -> None:
        """Args:
        before: the folder's content when the trace began; all of it is on the disk.
        inodes: inode numbers of its files, by which the trace names them, and their paths relative to the folder.
        place: the folder in the trace.
        """
        self.place = place
        self.pending: list[Change] = []
        self.root = self._load(before)
        self.files = {number: node for number, path in inodes.items() if isinstance(node := self._at(path), File)}

    def apply(self, line: str) -> None:
        """Replays one operation."""
        kind, *words = line.rstrip("\n").split("\t")
        if kind == "create":
            self.files[int(words[0])] = node = File()
            self._change([(*self._slot(words[1]), node)])
        elif kind == "mkdir":
            self._change([(*self._slot(words[0]), Folder())])
        elif kind == "truncate0":
            self.files[int(words[0])].data.clear()
        elif kind == "truncate":
            node = self.files[int(words[0])]
            node.data = node.data[: int(words[1])].ljust(int(words[1]), b"\0")
        elif kind == "write":
            data, offset, content = self.files[int(words[0])].data, int(words[1]), bytes.fromhex(words[2])
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(content)] = content
        elif kind == "unlink":
            self._change([(*self._slot(words[0]), None)])
        elif kind in ("link", "rename"):
            here, there = self._slot(words[0]), self._slot(words[1])
            moved = here[0].entries[here[1]]
            self._change([(*there, moved)] + ([(*here, None)] if kind == "rename" else []))
        elif kind == "sync":
            self._sync(int(words[0]), words[1])
        else:
            raise ValueError(line)

    def states(self) -> Iterator[tuple[str, "State"]]:
        """What the disk may hold now: nothing unsynced, all of it, and all of it but one thing, missing or torn."""
        unsynced = [node for node in self._all_files(self.root) if bytes(node.data) != node.durable]
        yield "nothing unsynced", State(self, [], unsynced)
        yield "all of it", State(self, self.pending, [])
        for number in range(len(self.pending)):
            yield f"name {number} missing", State(self, self.pending[:number] + self.pending[number + 1 :], [])
        for number, node in enumerate(unsynced):
            yield f"content {number} missing", State(self, self.pending, [node])
            yield f"content {number} torn", State(self, self.pending, [], torn=node)

    def _change(self, change: Change) -> None:
        for folder, name, node in change:
            if node is None:
                folder.entries.pop(name, None)
            else:
                folder.entries[name] = node
        self.pending.append(change)

    def _sync(self, inode: int, path: str) -> None:
        folder, name = self._slot(path) if Path(path) != self.place else (self.root, "")
        if name and name not in folder.entries:
            # safetensors renames its own temporary file by a system call that no preloaded function sees.
            old = next(old for old, node in folder.entries.items() if node is self.files[inode])
            self._change([(folder, name, self.files[inode]), (folder, old, None)])
        node = self._at(Path(path).relative_to(self.place))
        if isinstance(node, Folder):
            for change in [one for one in self.pending if any(folder is node for folder, _, _ in one)]:
                _settle(change)
                self.pending.remove(change)
        else:
            self.files[inode].durable = bytes(self.files[inode].data)

    def _slot(self, path: str) -> tuple[Folder, str]:
        relative = Path(path).relative_to(self.place)
        folder = self._at(relative.parent)
        assert isinstance(folder, Folder), path
        return folder, relative.name

    def _at(self, relative: Path) -> Node:
        node: Node = self.root
        for part in relative.parts:
            assert isinstance(node, Folder), relative
            node = node.entries[part]
        return node

    def _load(self, path: Path) -> Folder:
        folder = Folder()
        for entry in path.iterdir():
            content = self._load(entry) if entry.is_dir() else _loaded(entry.read_bytes())
            folder.entries[entry.name] = folder.durable[entry.name] = content
        return folder

    def _all_files(self, folder: Folder) -> Iterator[File]:
        for node in folder.entries.values():
            if isinstance(node, File):
                yield node
            else:
                yield from self._all_files(node)


@dataclass(frozen=True)
class State:
    """One thing that the disk may hold: these changes of names, and files that have their durable content only."""

    disk: Disk
    changes: list[Change]
    old: list[File]
    torn: File | None = None

    def write(self, target: Path) -> None:
        """Makes a folder of it."""
        entries: dict[int, dict[str, Node]] = {}
        for change in self.changes:
            for folder, name, node in change:
                here = entries.setdefault(id(folder), dict(folder.durable))
                if node is None:
                    here.pop(name, None)
                else:
                    here[name] = node
        self._write(self.disk.root, target, entries)

    def _write(self, folder: Folder, target: Path, entries: dict[int, dict[str, Node]]) -> None:
        target.mkdir(parents=True)
        for name, node in entries.get(id(folder), folder.durable).items():
            if isinstance(node, Folder):
                self._write(node, target / name, entries)
            else:
                content = node.durable if node in self.old else bytes(node.data)
                (target / name).write_bytes(content[: len(content) // 2] if node is self.torn else content)


def sampled_states(
    before: Path, inodes: dict[int, Path], place: Path, trace: Path, count: int, seed: int = 0
) -> Iterator[tuple[str, State]]:
    """At most `count` states after cuts anywhere in the trace, spread over its operations; the last cut is its end."""
    lines = trace.read_text().splitlines()
    chance = random.Random(seed)
    # Writes alone change little: cuts lie where something else happens, and at a few writes.
    events = [number for number, line in enumerate(lines, 1) if not line.startswith("write")] or [len(lines)]
    cuts = sorted({len(lines), *(chance.choice(events) for _ in range(count // 2))})
    disk = Disk(before, inodes, place)
    done = 0
    for cut in cuts:
        for line in lines[done:cut]:
            disk.apply(line)
        done = cut
        found = list(disk.states())
        some = found[:2] + chance.sample(found[2:], min(len(found) - 2, max(1, count // len(cuts) - 2)))
        for what, state in some:
            yield f"{what} after operation {cut} of {len(lines)}", state


def _loaded(content: bytes) -> File:
    return File(bytearray(content), content)


def _settle(change: Change) -> None:
    for folder, name, node in change:
        if node is None:
            folder.durable.pop(name, None)
        else:
            folder.durable[name] = node
