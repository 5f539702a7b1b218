"""What the service answers, as its OpenAPI schema describes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(_Body):
    """Why a request was not answered."""

    error: str = Field(description="What is wrong, and what to do, in a sentence.")


class Probability(_Body):
    """A class and its probability."""

    class_: str = Field(alias="class")
    probability: float = Field(ge=0, le=1)


class PictureAnswer(_Body):
    """What the model says of one picture; with `error`, why it could not be read."""

    name: str = Field(description="The file name that came with it, or 'image 3' for the third.")
    prediction: str | None = Field(
        None, description="The answer by the rules in force: a class, 'unknown' or 'uncertain'."
    )
    likeliest: list[Probability] | None = Field(None, description="`top` classes, likeliest first.")
    probabilities: dict[str, float] | None = Field(None, description="Of all classes.")
    unknown: bool | None = Field(None, description="Unlike the training images; if asked for.")
    uncertain: bool | None = Field(None, description="Not confident enough; if in force.")
    set: list[str] | None = Field(
        None, description="Classes that hold the true one as often as promised; if in force."
    )
    error: str | None = None


class Predicted(_Body):
    """One answer a picture, in the order given."""

    model: str
    version: str = Field(description="Names weights and rules; changes when the run does.")
    answers: list[PictureAnswer]


class Overlay(_Body):
    """Where one method saw evidence."""

    method: str
    png: str = Field(description="A PNG, in base64.", json_schema_extra={"format": "byte"})


class Neighbour(_Body):
    """A training image that the model sees as alike."""

    path: str
    label: str
    distance: float = Field(description="1 - cosine: 0 same direction, 2 opposite.")
    thumbnail: str = Field(description="A WebP, in base64.", json_schema_extra={"format": "byte"})


class Explained(_Body):
    """Why one picture got its answer."""

    model: str
    version: str
    answer: PictureAnswer
    explained: str = Field(description="The class that the overlays are about.")
    overlays: list[Overlay] = Field(description="The first is the one to show.")
    neighbours: list[Neighbour] = Field(description="Nearest first.")
    notes: list[str]


class Accuracy(_Body):
    """The headline number, with its 95 % interval where there is one."""

    part: str = Field(description="The images that it was measured on.")
    images: int
    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = Field("", description="Why there is no number.")


class ModelAbout(_Body):
    """What a model is, and how far to trust it."""

    name: str
    version: str
    classes: list[str]
    rules: list[str] = Field(description="How answers are made of probabilities, in sentences.")
    policy: dict[str, Any] = Field(description="The same, for programs.")
    unknown: bool = Field(description="Whether images can be answered 'unknown'.")
    explains: bool = Field(description="Whether /v1/explain takes it.")
    accuracy: Accuracy | None
    created: str
    trained_on: dict[str, int] = Field(description="Training images of each class.")
    recipe: str
    loaded: str = Field(description="When this version was loaded, ISO 8601.")
    problem: str = Field("", description="Why a newer version of its folder is not in use.")


class LimitsAbout(_Body):
    """What a request may take."""

    request_bytes: int
    pixels: int
    images: int
    seconds: float


class Models(_Body):
    """All models, the one that answers where none is named first."""

    models: list[ModelAbout]
    limits: LimitsAbout
    feedback: bool = Field(description="Whether /v1/feedback takes corrections.")
    tellapart: str = Field(description="The version of the program.")


class Kept(_Body):
    """What became of a correction."""

    kept: bool
    label: str


class Health(_Body):
    """Whether the process lives, or can answer."""

    status: str
