"""The classifier that is a stack of recurrent layers and nothing else: most architectures here."""

from typing import ClassVar, cast

from torch import Tensor, nn

from pipeline.models.configs.base import ModelConfig, RecurrentConfig
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.recurrent import MakeLayer, Recurrent, stacked, torch_layer


class RecurrentClassifier(ReviewClassifier):
    """Recurrent layers in one or both directions. An architecture names its layer when it derives:

        class BiLSTM(RecurrentClassifier, layer=nn.LSTM, bidirectional=True): ...

    Those with a layer of torch are scored without padding on the CPU (`pipeline/scoring/packed.py`).
    """

    Config: ClassVar[type[ModelConfig]] = RecurrentConfig
    is_causal = True
    encoder: Recurrent
    _layer: ClassVar[tuple[MakeLayer]]
    _bidirectional: ClassVar[bool]
    _features_per_unit: ClassVar[int]

    def __init_subclass__(
        cls,
        *,
        layer: type[nn.RNN | nn.LSTM | nn.GRU] | MakeLayer | None = None,
        bidirectional: bool = False,
        features_per_unit: int = 1,
    ) -> None:
        """`layer`: one of torch's layers, or a function that creates one from (input features, hidden features); without
        it, a class inherits its parent's. `features_per_unit`: number of features per hidden unit that a layer returns, 2
        for complex units."""
        super().__init_subclass__()
        if layer is None:
            return
        if isinstance(layer, type) and issubclass(layer, nn.RNN | nn.LSTM | nn.GRU):
            layer = torch_layer(layer)
        # In a tuple, since a function that is a class attribute would become a method.
        cls._layer = (cast(MakeLayer, layer),)
        cls._bidirectional = bidirectional
        cls._features_per_unit = features_per_unit

    def __init__(self, config: RecurrentConfig) -> None:
        encoder = stacked(
            self._layer[0], config, bidirectional=self._bidirectional, features_per_unit=self._features_per_unit
        )
        super().__init__(config, encoder.output_dim, bidirectional=self._bidirectional)
        self.encoder = encoder

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, S), 0 at padding; those of both directions side by side."""
        states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
        return states_BTS
