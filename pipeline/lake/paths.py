"""The folders of a lake."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake.links import is_circular, without_links
from pipeline.lake.store import SCHEMES
from pipeline.printable import shown, utf8_name

if TYPE_CHECKING:
    from pipeline.lake.working_copy import WorkingCopy

ENVIRONMENT = "PIPELINE_LAKE"
DEFAULT = "data_lake"
CONTENT = (
    *("pipeline.toml", "raw", "incoming", "tokens", "vocabulary", "rejects", "models", "pretrained", "predictions", "runs"),
    *("logs", "retracted", "erased", "checkpoints", "crossval", ".scratch", ".index", ".targets", ".damaged", ".locks"),
)
"""What tells a lake from another folder."""
START = "'pipeline init FILE' starts one with your reviews, 'pipeline sample' one with made-up reviews."
"""How a lake begins."""
_WITH_URI: set[Path] = set()
"""The working copies of lakes that this process has found by their URIs, whether they are there yet or not."""


@dataclass(frozen=True, slots=True)
class Lake:
    """A lake: a local folder, or the working copy of a lake on a store. Nothing is made in a folder before something is
    written.

    Every path is absolute, so that a change of the working folder changes nothing.
    """

    root: Path

    @classmethod
    def find(cls, given: str | os.PathLike[str] | None = None) -> "Lake":
        """The selected lake: `given`, else the environment's PIPELINE_LAKE, else ./data_lake.

        The store of a URI is asked nothing; `open` does that.

        Raises:
            UsageError: a URI of an unsupported storage, or a path that is not valid for its table.
            InputNotFoundError: links on the way to it lead in a circle.
        """
        where = os.fspath(given or os.environ.get(ENVIRONMENT) or DEFAULT)
        if "://" in where:
            if not where.startswith("file://"):
                from pipeline.lake.origin import working_folder

                root = working_folder(where)
                _WITH_URI.add(root)
                return cls(root)
            where = where.removeprefix("file://")
        elif (scheme := where.partition(":/")[0]) in SCHEMES:
            raise UsageError(
                f"--lake {where}: expected a folder, or a URI with two slashes, such as {scheme}://bucket/lake."
            )
        root = Path(where).expanduser()
        if is_circular(root):
            raise InputNotFoundError(f"--lake {where}: symbolic links on its way lead in a circle. Fix the link.")
        root = without_links(root)
        if "\n" in str(root) or utf8_name(str(root)) != str(root):
            raise UsageError(
                f"--lake: {str(root)!r} is not a valid lake; its path must be UTF-8 without line breaks. Rename the "
                "folder, or use another."
            )
        return cls(root)

    @property
    def origin(self) -> "WorkingCopy | None":
        """The working copy that the lake's folder is; None for a lake that is just a folder."""
        if self.root not in _WITH_URI and not (self.root / ".origin").is_dir():
            return None
        from pipeline.lake.working_copy import working_copy

        return working_copy(self.root)

    @property
    def is_there(self) -> bool:
        """Whether there is a lake: a folder that is empty or holds anything of one, or a working copy of one on a store."""
        if self.origin is not None or any((self.root / name).exists() for name in CONTENT):
            return True
        return self.root.is_dir() and not any(self.root.iterdir())

    def check_there(self) -> None:
        """Raises `InputNotFoundError` where there is no lake."""
        if not self.is_there:
            raise InputNotFoundError(
                f"there is no lake at {self.root}. Check the path; --lake selects another one. {START}",
                brief=f"there is no lake at {self.root}",
            )

    @property
    def place(self) -> str:
        """Where people find the lake: its folder, or the URI of its store."""
        return shown(str(self.root)) if self.origin is not None else str(self.root)

    def open(self) -> None:
        """Begins to work with the lake: brings a working copy up to date with its store.

        Raises:
            StorageUnavailableError: the store does not answer.
        """
        if (origin := self.origin) is not None:
            origin.open()

    def fetch(self, *places: Path) -> None:
        """Makes sure that files, or what is in folders, are here: a working copy fetches large ones when they are asked for.

        Raises:
            StorageUnavailableError: the store does not answer.
        """
        if (origin := self.origin) is not None:
            for place in places:
                origin.fetch(place)

    def push(self, command: str) -> None:
        """Puts what `command` has changed in a working copy into its store, and removes there what it has removed.

        Raises:
            LockedError: somebody else changed the same file; theirs stays.
            StorageUnavailableError: the store does not answer.
        """
        if (origin := self.origin) is not None:
            origin.push(command)

    def local(self, text: str) -> Path:
        """The path of what `text` names; a URI inside the lake is one in its working copy."""
        if ":/" not in text or self.origin is None:
            return Path(text)
        from pipeline.lake.origin import located

        return located(self.root, text)

    @property
    def raw(self) -> Path:
        """Raw reviews are dropped here."""
        return self.root / "raw"

    @property
    def incoming(self) -> Path:
        """Files that wait to be scored; the schedules read them here."""
        return self.root / "incoming"

    @property
    def own(self) -> tuple[Path, ...]:
        """Folders of what the commands write: a walk through a folder around the lake finds no reviews there."""
        data = (self.tokens, self.vocabulary, self.rejects, self.models, self.predictions, self.runs)
        return (*data, self.pretrained, self.retracted, self.erased)

    @property
    def tokens(self) -> Path:
        """The Delta table of token shards."""
        return self.root / "tokens"

    @property
    def vocabulary(self) -> Path:
        """Vocabularies, one immutable file each, named by fingerprint."""
        return self.root / "vocabulary"

    @property
    def rejects(self) -> Path:
        """What could not be ingested."""
        return self.root / "rejects"

    @property
    def models(self) -> Path:
        """Model bundles, a folder each."""
        return self.root / "models"

    @property
    def latest(self) -> Path:
        """One line: the ID of the live model."""
        return self.models / "LATEST"

    @property
    def live_history(self) -> Path:
        """A line for each time that a model went live."""
        return self.models / "live.jsonl"

    @property
    def decisions(self) -> Path:
        """A line for each trained model: whether it went live, and why."""
        return self.models / "decisions.jsonl"

    @property
    def pretrained(self) -> Path:
        """Pretrained models, a folder each."""
        return self.root / "pretrained"

    @property
    def predictions(self) -> Path:
        """Scored files."""
        return self.root / "predictions"

    @property
    def runs(self) -> Path:
        """Run records."""
        return self.root / "runs"

    @property
    def logs(self) -> Path:
        """Logs of scheduled runs, one file each."""
        return self.root / "logs"

    @property
    def retracted(self) -> Path:
        """Lists of the rows that 'pipeline retract' took back, one for each run that brought them."""
        return self.root / "retracted"

    @property
    def erased(self) -> Path:
        """Lists of the reviews that 'pipeline erase' removed for good."""
        return self.root / "erased"

    @property
    def checkpoints(self) -> Path:
        """Unfinished trainings, a folder each."""
        return self.root / "checkpoints"

    @property
    def scratch(self) -> Path:
        """Spilled batches and unfinished files of running jobs; a run removes its own folder when it ends."""
        return self.root / ".scratch"

    @property
    def index(self) -> Path:
        """Keys of the table's reviews, sorted; made again from the shards where it is missing."""
        return self.root / ".index"

    @property
    def targets(self) -> Path:
        """Soft targets, a folder for each teacher; made again where they are missing."""
        return self.root / ".targets"

    @property
    def damaged(self) -> Path:
        """Files that `pipeline repair` has set aside."""
        return self.root / ".damaged"

    @property
    def locks(self) -> Path:
        """Lock files."""
        return self.root / ".locks"

    def crossval(self) -> "FoldLake":
        """The same lake as trainings with a fold held out see it."""
        return FoldLake(self.root)

    def relative(self, path: Path) -> str:
        """The name of a source in the lake: a relative path with slashes if inside the lake, else the absolute URI."""
        path = without_links(path)
        return utf8_name(path.relative_to(self.root).as_posix()) if path.is_relative_to(self.root) else path.as_uri()

    def latest_model(self) -> str:
        """The ID in models/LATEST.

        Raises:
            InputNotFoundError: no model was trained yet, or LATEST is empty.
            DataError: LATEST is not a file with an ID.
        """
        self.check_there()
        remedy = f"Train one with 'pipeline train --lake {self.root}', or pass the folder of a bundle."
        try:
            model_id = self.latest.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            if any(self.models.glob("[!.]*/model.json")):
                raise InputNotFoundError(
                    f"no model in {self.models} is live: LATEST does not exist. Make one live with 'pipeline models promote "
                    "MODEL', or pass one with --model; 'pipeline models' lists them."
                ) from None
            raise InputNotFoundError(f"no model in {self.models}: LATEST does not exist. {remedy}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.latest} cannot be read: {error}. Run 'pipeline repair' to point it to the newest intact model, "
                "or pass the folder of a bundle."
            ) from error
        if not model_id:
            raise InputNotFoundError(f"{self.latest} is empty. {remedy}")
        return model_id


@dataclass(frozen=True, slots=True)
class FoldLake(Lake):
    """A lake with separate models and unfinished training runs in crossval/, because models of folds never go live."""

    @property
    def folder(self) -> Path:
        """The folder for models, checkpoints and one subfolder per cross-validation."""
        return self.root / "crossval"

    @property
    def models(self) -> Path:
        """Models that were trained with a fold held out."""
        return self.folder / "models"

    @property
    def latest(self) -> Path:
        """One line: the id of the newest of them."""
        return self.models / "LATEST"

    @property
    def pretrained(self) -> Path:
        """Models that were pretrained with a fold held out."""
        return self.folder / "pretrained"

    @property
    def checkpoints(self) -> Path:
        """Unfinished trainings with a fold held out."""
        return self.folder / "checkpoints"


def share(place: Path, command: str) -> None:
    """Pushes the working copy that a file or folder is in, if it is in one, for a run that goes on even if that fails."""
    for folder in place.parents:
        if (origin := Lake(folder).origin) is not None:
            origin.push_if_possible(command)
            return
