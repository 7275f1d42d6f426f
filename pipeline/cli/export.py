"""`pipeline export`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.export import ExportConfig


@config_command(ExportConfig)
def export(config: ExportConfig, finish: Finish) -> None:
    """Write a model as one ONNX file.

    ONNX Runtime scores it without this package. Needs the extra 'onnx'. The file takes token ids and gives
    probabilities; tokenizer, vocabulary and labels are its metadata. It is kept only if it gives the same probabilities
    as 'pipeline score'. For rnn, birnn, lstm, bilstm, gru, bigru, bag and nbsvm.

    Example: pipeline export LATEST --output model.onnx
    """
    from jobs import export as job

    finish(job.run(config))
