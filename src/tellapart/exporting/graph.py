"""One ONNX graph from pixels to the decision: views, network, temperature, decision rule.

Whoever runs it gives pictures of the stated size and gets answers; nothing that a run knows
of its images has to be done outside. The inputs and outputs:

- ``pixels``: uint8 (N, H, W, 3), RGB; or with ``--float`` float32 (N, 3, H, W), normalised. Where
  several networks look at pictures of several sizes, ``pixels_2`` and so on are the others.
- ``probabilities``: float32 (N, C), rows sum to 1, at the run's temperature.
- ``decision``: int64 (N,), which of the answers is given, by the run's decision rule: a class, or
  behind the classes "uncertain", where the rule has it.
- ``probability``: float32 (N,), that of the class that is answered, or would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.columns import word_for
from tellapart.evaluation.decision import Decision
from tellapart.pixels.views import View, show
from tellapart.prediction.answers import UNCERTAIN

PIXELS, PROBABILITIES, DECISION, PROBABILITY = (
    "pixels", "probabilities", "decision", "probability",
)  # fmt: skip
OUTPUTS = (PROBABILITIES, DECISION, PROBABILITY)

#: The names that the network's own input and output get inside the graph.
_SHOWN, _LOGITS = "shown", "logits"


@dataclass(frozen=True)
class Around:
    """What the graph does before and behind the network."""

    #: Views whose logits are averaged.
    views: tuple[View, ...]
    temperature: float
    classes: tuple[str, ...]
    #: One output stands for the second of two classes.
    sigmoid: bool = False
    decision: Decision | None = None
    #: The probability of the answer up to which it is "uncertain"; None: every image is answered.
    uncertain_up_to: float | None = None
    height: int = 0
    width: int = 0
    #: Height and width of the inputs behind the first; with them there are no views out here.
    more_sizes: tuple[tuple[int, int], ...] = ()
    #: Normalised float32 (N, 3, H, W) instead of uint8 (N, H, W, 3).
    float_input: bool = False
    #: Texts that the model carries in its metadata.
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Columns of the network's logits."""
        return 1 if self.sigmoid else len(self.classes)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of a picture in each input."""
        sizes = ((self.height, self.width), *self.more_sizes)
        return tuple((3, *size) if self.float_input else (*size, 3) for size in sizes)


def input_name(number: int) -> str:
    """What an input is called, counted from 0.

    >>> input_name(0), input_name(1)
    ('pixels', 'pixels_2')
    """
    return PIXELS if number == 0 else f"{PIXELS}_{number + 1}"


def answers_of(around: Around) -> tuple[str, ...]:
    """What the output ``decision`` counts: the classes, then "uncertain" where that is said."""
    if around.uncertain_up_to is None:
        return around.classes
    return (*around.classes, word_for(UNCERTAIN, around.classes))


@dataclass(frozen=True)
class Shown:
    """A view as places: which rows and columns are taken, and whether they change places."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    transposed: bool

    @classmethod
    def of(cls, view: View, height: int, width: int) -> Shown:
        """The places that :func:`tellapart.pixels.views.show` takes."""
        # Shown as it is, a picture of places says where each pixel comes from.
        places: Any = np.indices((height, width)).transpose(1, 2, 0)[None]
        shown: Any = show(places, view)[0]
        if view.quarter_turns % 2:
            return cls(shown[0, :, 0], shown[:, 0, 1], True)
        return cls(shown[:, 0, 0], shown[0, :, 1], False)


def least_float32(threshold: float) -> np.float32:
    """The smallest float32 that is not below a threshold: the same float32 reach both.

    >>> float(least_float32(0.1)) >= 0.1, bool(least_float32(0.5) == 0.5)
    (True, True)
    """
    rounded = np.float32(threshold)
    return rounded if float(rounded) >= threshold else np.nextafter(rounded, np.float32(np.inf))


def most_float32(limit: float) -> np.float32:
    """The largest float32 that is not above a limit: the same float32 are above both.

    >>> float(most_float32(0.1)) <= 0.1
    True
    """
    rounded = np.float32(limit)
    return rounded if float(rounded) <= limit else np.nextafter(rounded, np.float32(-np.inf))


def whole_graph(network: bytes, around: Around) -> bytes:
    """The graph around a network.

    Args:
        network: an ONNX model of the inputs that ``around`` says, and of logits (N, outputs), for
            every N.
        around: what comes before and behind it.

    Returns:
        The ONNX model.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(network)
    graph = model.graph
    build = _Builder()
    sources, result = [value.name for value in graph.input], graph.output[0].name
    inputs = [input_name(number) for number in range(len(sources))]
    first, last = _before(build, around), _behind(build, around)
    # The names of this graph are this module's; the network's own make way for them.
    taken = {*inputs, *OUTPUTS, _SHOWN, _LOGITS, *build.names}
    renamed = {name: f"network/{name}" for name in _names(graph) & taken}
    renamed |= dict(zip(sources, inputs, strict=True)) | {result: _LOGITS}
    if first:
        renamed[sources[0]] = _SHOWN
    _rename(graph, renamed)
    nodes = [*first, *graph.node, *last]
    kind = TensorProto.FLOAT if around.float_input else TensorProto.UINT8
    whole = helper.make_graph(
        nodes,
        "tellapart",
        [
            helper.make_tensor_value_info(name, kind, ["number", *shape])
            for name, shape in zip(inputs, around.shapes, strict=True)
        ],
        [
            helper.make_tensor_value_info(
                PROBABILITIES, TensorProto.FLOAT, ["number", len(around.classes)]
            ),
            helper.make_tensor_value_info(DECISION, TensorProto.INT64, ["number"]),
            helper.make_tensor_value_info(PROBABILITY, TensorProto.FLOAT, ["number"]),
        ],
        initializer=[*graph.initializer, *build.constants],
    )
    made = helper.make_model(
        whole,
        opset_imports=list(model.opset_import),
        functions=list(model.functions),
        ir_version=min(model.ir_version, 10),
        producer_name="tellapart",
    )
    helper.set_model_props(made, dict(around.metadata))
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


class _Builder:
    """Nodes and constants with names of their own."""

    def __init__(self) -> None:
        self.constants: list[Any] = []
        self.names: set[str] = set()

    def constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"tellapart/{name}"
        self.names.add(name)
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        from onnx import helper

        self.names.add(output)
        return helper.make_node(kind, inputs, [output], f"tellapart/{output}", **attributes)


def _before(build: _Builder, around: Around) -> list[Any]:
    """Nodes from the pictures to all their views, one after the other along the batch."""
    if around.views == (View(),):
        return []
    high = 2 if around.float_input else 1
    turned = [0, 1, 3, 2] if around.float_input else [0, 2, 1, 3]
    nodes, made = [], []
    for number, view in enumerate(around.views):
        places = Shown.of(view, around.height, around.width)
        name = PIXELS
        for axis, (what, indices) in enumerate(
            (("rows", places.rows), ("columns", places.columns)), start=high
        ):
            if not np.array_equal(indices, np.arange(len(indices))):
                wanted = build.constant(f"view{number}_{what}", indices)
                nodes.append(
                    build.node("Gather", [name, wanted], f"view{number}_{what}", axis=axis)
                )
                name = f"view{number}_{what}"
        if places.transposed:
            nodes.append(build.node("Transpose", [name], f"view{number}_turned", perm=turned))
            name = f"view{number}_turned"
        made.append(name)
    return [*nodes, build.node("Concat", made, _SHOWN, axis=0)]


def _behind(build: _Builder, around: Around) -> list[Any]:
    """Nodes from the logits of all views to probabilities and decision."""
    nodes, name = [], _LOGITS
    if len(around.views) > 1:
        shape = build.constant("by_view", np.array([len(around.views), -1, around.outputs]))
        nodes.append(build.node("Reshape", [name, shape], "logits_by_view"))
        axis = build.constant("view_axis", np.array([0]))
        nodes.append(build.node("ReduceMean", ["logits_by_view", axis], "mean_logits", keepdims=0))
        name = "mean_logits"
    if around.temperature != 1.0:
        by = build.constant("temperature", np.array(around.temperature, np.float32))
        nodes.append(build.node("Div", [name, by], "calibrated"))
        name = "calibrated"
    if around.sigmoid:  # softmax of (0, x) is the sigmoid of x and its rest
        nodes.append(build.node("Sub", [name, name], "zeros"))
        nodes.append(build.node("Concat", ["zeros", name], "pair", axis=1))
        name = "pair"
    nodes.append(build.node("Softmax", [name], PROBABILITIES, axis=1))
    chosen = DECISION if around.uncertain_up_to is None else "chosen"
    nodes += _decision(build, around, chosen)
    last = build.constant("last_axis", np.array([1]))
    nodes.append(build.node("Unsqueeze", [chosen, last], "decision_column"))
    nodes.append(
        build.node("GatherElements", [PROBABILITIES, "decision_column"], "answered", axis=1)
    )
    nodes.append(build.node("Squeeze", ["answered", last], PROBABILITY))
    if around.uncertain_up_to is not None:
        limit = build.constant("uncertain_up_to", np.array(most_float32(around.uncertain_up_to)))
        uncertain = build.constant("uncertain", np.array(len(around.classes), np.int64))
        nodes.append(build.node("Greater", [PROBABILITY, limit], "is_answered"))
        nodes.append(build.node("Where", ["is_answered", chosen, uncertain], DECISION))
    return nodes


def _decision(build: _Builder, around: Around, output: str) -> list[Any]:
    """Nodes from probabilities to the index of the class, as ``decision.decided`` chooses."""
    decision = around.decision
    if decision is None:
        return [build.node("ArgMax", [PROBABILITIES], output, axis=1, keepdims=0)]
    column = around.classes.index(decision.positive)
    hidden = np.zeros((1, len(around.classes)), np.float32)
    hidden[0, column] = 2.0  # below every probability once it is taken away
    at = build.constant("positive", np.array(column, np.int64))
    threshold = build.constant("threshold", np.array(least_float32(decision.threshold)))
    return [
        build.node("Gather", [PROBABILITIES, at], "of_positive", axis=1),
        build.node("GreaterOrEqual", ["of_positive", threshold], "is_called"),
        build.node("Sub", [PROBABILITIES, build.constant("hidden", hidden)], "of_others"),
        build.node("ArgMax", ["of_others"], "likeliest_other", axis=1, keepdims=0),
        build.node("Where", ["is_called", at, "likeliest_other"], output),
    ]


def _names(graph: Any) -> set[str]:
    """All names of values in a graph."""
    found = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        found |= {*node.input, *node.output}
    return found - {""}


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for field_ in (node.input, node.output):
            for number, name in enumerate(field_):
                field_[number] = names.get(name, name)
    for value in graph.initializer:
        value.name = names.get(value.name, value.name)
