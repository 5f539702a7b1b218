"""Job: a run's model on its way into another format; what is costly is made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tellapart.engines.onnx import network_to_onnx
from tellapart.errors import BundleError
from tellapart.exporting.graph import Around, whole_graph
from tellapart.exporting.int8_graph import with_head
from tellapart.exporting.joint_module import joint_network_of
from tellapart.exporting.module import examples_for, network_of, whole_module
from tellapart.extras import pytorch_is_here
from tellapart.prediction.joint import JointClassifier
from tellapart.prediction.stored import AnyClassifier
from tellapart.wording import shown

if TYPE_CHECKING:
    from torch import nn

    from tellapart.prediction.predictor import Prepared


@dataclass(frozen=True)
class Job:
    """What the formats write from."""

    name: str
    classifier: AnyClassifier
    around: Around
    #: Quantise to int8.
    int8: bool = False
    #: Gives training images as the model takes them, (1, ...) each, to calibrate int8.
    calibration: Callable[[], list[Prepared]] = field(default=list)

    @cached_property
    def network(self) -> nn.Module:
        """From the model's inputs to logits."""
        if isinstance(self.classifier, JointClassifier):
            return joint_network_of(self.classifier)
        return network_of(self.classifier, float_input=self.around.float_input)

    @cached_property
    def module(self) -> nn.Module:
        """From the model's inputs to the decision, in PyTorch."""
        return whole_module(self.network, self.around)

    @cached_property
    def onnx(self) -> bytes:
        """From the model's inputs to the decision, in ONNX; before it is quantised here.

        Raises:
            BundleError: the exporter cannot take the network.
        """
        plain = None
        if not isinstance(self.classifier, JointClassifier):
            int8 = self.classifier.int8_network
            if int8 is not None:
                return whole_graph(
                    with_head(int8.content, self.classifier.feature_head), self.around
                )
            if not pytorch_is_here():
                plain = self.classifier.plain_network()
        if plain is not None:
            around = self.around
            graph = plain.to_onnx(around.height, around.width, normalised=around.float_input)
            return whole_graph(graph, around)
        try:
            network = network_to_onnx(self.network, examples_for(self.around))
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the exporter raises many kinds
            raise BundleError(
                f"PyTorch's exporter cannot take this network ({_first_line(error)}); export it "
                "with --to torch."
            ) from error
        return whole_graph(network, self.around)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[0][:200]) if lines else type(error).__name__
