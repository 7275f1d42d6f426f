"""Scoring in tasks of a Ray cluster.

Tasks read, tokenize and score. The driving process gets the columns that are kept, gathers windows as it does without a
cluster, and writes. Token ids go from task to task.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.config.score import ScoreConfig
from pipeline.datapipes.score_encode import Encoded
from pipeline.datapipes.score_read import Part
from pipeline.datapipes.score_window import Window, windows
from pipeline.engines.on_ray.cluster import Cluster, Unseen, unseen
from pipeline.engines.on_ray.model import Asked, SentModel, encoder, predictor
from pipeline.engines.on_ray.reading import chunked, compact, gathered, stamp_here
from pipeline.engines.score import READ_ROWS, WINDOW_BYTES, WINDOW_ROWS, Request, Scored
from pipeline.errors import UsageError
from pipeline.readers.base import Rows
from pipeline.readers.tables import Item, Table
from pipeline.scoring.sums_predictor import SumsPredictor

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle
    from pipeline.scoring.probabilities import Probabilities

CPU, CUDA = "cpu", "cuda"


@dataclass(frozen=True, slots=True)
class TableItem:
    """Rows of one of some tables, by its number."""

    table: int
    item: Item


class RayScoring:
    """A model at work in a cluster; see `pipeline.engines.score.Scoring`.

    Args:
        threads: tasks at a time.
    """

    def __init__(self, bundle: "Bundle", cluster: Cluster, model: SentModel) -> None:
        self._bundle, self._cluster, self._model = bundle, cluster, model
        self.device_type, self.precision, self.threads = model.device, model.precision, cluster.slots
        self._given = cluster.put(model)

    @classmethod
    def of(cls, bundle: "Bundle", config: ScoreConfig, cluster: Cluster) -> "RayScoring":
        """The model of a run.

        Raises:
            PipelineError: its weights cannot be read.
            UsageError: the cluster has no GPU, and one was asked for.
        """
        at_once = not config.explain and SumsPredictor.of(bundle, config.device, config.precision) is not None
        device = CPU if at_once else _device(config.device, cluster)
        model = SentModel.of(
            bundle,
            None if cluster.is_here else cluster.put,
            at_once=at_once,
            explain=config.explain,
            device=device,
            batch_size=config.batch_size,
            precision="fp32" if config.precision == "auto" else config.precision,
            planned_for=1 if at_once else _threads(device),
        )
        return cls(bundle, cluster, model)

    def windows(self, request: Request) -> Iterator[Scored]:
        """See `Scoring`."""
        cluster = self._cluster
        places: deque[tuple[Any, int]] = deque()
        found = windows(self._encoded(request, places), READ_ROWS, WINDOW_ROWS, WINDOW_BYTES)
        if self._model.at_once:
            for window in found:
                places.clear()
                assert window.probability_NC is not None
                yield Scored(window, window.probability_NC, None)
            return
        with_table = False

        def start(window: Window) -> tuple[Window, Any]:
            nonlocal with_table
            mine = [places.popleft() for _ in window.batches]
            bodies = list(dict.fromkeys(body for body, _ in mine))
            rows = [(bodies.index(body), batch) for body, batch in mine]
            scored = cluster.call(score_window, self._given, rows, with_table, *bodies, gpus=self.device_type == CUDA)
            with_table |= self._is_worth_tables(window)
            return window, scored

        for window, scored in cluster.ahead(found, start):
            probability_NC, explanation = cluster.get(scored)
            yield Scored(window, probability_NC, explanation)

    def _encoded(self, request: Request, places: deque[tuple[Any, int]]) -> Iterator[Encoded]:
        """The rows without their ids, whose places are appended."""
        cluster = self._cluster
        asked = cluster.put(Asked(key=token_hex(8), kept=request.kept, json_as_is=request.json_as_is))
        sizes = [(table, None if table.found is None else table.found.size) for table in request.source.tables]

        def read(tables: list[Table]) -> Iterator[tuple[Any, Any]]:
            given = cluster.put(tables)
            chunks = cluster.stream(read_chunks, given, request.source.schema.names)
            return ((given, chunk) for chunk in chunks)

        chunks = (chunk for stream in cluster.ahead(gathered(sizes), read, cluster.readers) for chunk in stream)
        started = cluster.ahead(chunks, lambda chunk: cluster.call_pair(encode_chunk, self._given, asked, *chunk))
        for head, body in started:
            for number, item in enumerate(cluster.get(head)):
                if isinstance(item, Unseen):
                    item.check()
                else:
                    places.append((body, number))
                    yield item

    def _is_worth_tables(self, window: Window) -> bool:
        """What `Predictor.prepare` finds: whether later windows of the input use tables."""
        bundle = self._bundle
        most = min(bundle.max_length, bundle.blend.get("max_length", bundle.max_length))
        tokens = int(np.minimum(window.length_N, most)[window.reason == 0].sum())
        return tokens > int(bundle.model_config["vocab_size"])


def _device(choice: str, cluster: Cluster) -> str:
    if choice == CUDA and not cluster.gpus:
        raise UsageError("--device cuda: the Ray cluster has no GPU. Use --device cpu or auto, or add machines with GPUs.")
    return CUDA if choice == CUDA or (choice == "auto" and cluster.gpus) else CPU


def _threads(device: str) -> int:
    """As many as a process of its own would divide a window among."""
    import torch

    from pipeline.scoring.predictor import CUDA_THREADS

    return CUDA_THREADS if device == CUDA else torch.get_num_threads()


def read_chunks(tables: list[Table], columns: list[str]) -> Iterator[Sequence[TableItem | Unseen]]:
    """Reads tables in a task.

    Raises:
        FileFault: one is damaged, or has changed.
    """

    def items() -> Iterator[TableItem]:
        for number, table in enumerate(tables):
            if table.found is not None:
                table = replace(table, found=stamp_here(table.source, table.found))
            for item in table.items(columns):
                rows = replace(item, table=compact(item.table)) if isinstance(item, Rows) else item
                yield TableItem(number, rows)

    missing = [found for table in tables if (found := unseen(table.source.path)) is not None]
    if missing:
        yield missing
    yield from chunked(items(), lambda part: part.item)


def encode_chunk(
    model: SentModel, asked: Asked, tables: list[Table], chunk: Sequence[TableItem | Unseen]
) -> tuple[list[Encoded | Unseen], list[pa.ListArray | None]]:
    """Encodes rows in a task; gives the columns, and the ids."""
    encode = encoder(model, asked)
    heads: list[Encoded | Unseen] = []
    ids: list[pa.ListArray | None] = []
    for part in chunk:
        head = part if isinstance(part, Unseen) else encode(Part(tables[part.table], part.item))
        ids.append(None if isinstance(head, Unseen) else head.ids)
        heads.append(head if isinstance(head, Unseen) else replace(head, ids=None))
    return heads, ids


def score_window(
    model: SentModel, rows: list[tuple[int, int]], with_table: bool, *bodies: list[pa.ListArray | None]
) -> "tuple[Probabilities, pa.Array | None]":
    """Scores a window in a task.

    Args:
        rows: number of the body and number of the batch, in the order of the window.
        with_table: see `Predictor.begin`.
    """
    scorer = predictor(model)
    scorer.begin(with_table=with_table)
    ids = pa.concat_arrays([bodies[body][batch] for body, batch in rows])
    probability_NC = scorer.predict(ids)
    if not model.explain:
        return probability_NC, None
    from pipeline.scoring.explain import explanations

    return probability_NC, explanations(scorer, scorer.bundle.load_vocabulary(), ids, probability_NC)
