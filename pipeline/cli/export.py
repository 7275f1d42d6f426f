"""`pipeline export`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.export import ExportConfig


@config_command(ExportConfig)
def export(config: ExportConfig, finish: Finish) -> None:
    """Write a model as one ONNX file.

    ONNX Runtime can then score reviews without this package. Requires the 'onnx' extra. The file maps token IDs to
    probabilities; tokenizer, vocabulary and labels are stored as metadata. It is kept only if its probabilities match
    those of 'pipeline score'. Supported: rnn, birnn, lstm, bilstm, gru, bigru, bag, nbsvm and
    ridge.

    Example: pipeline export LATEST --output model.onnx
    """
    from jobs import export as job

    finish(job.run(config))
