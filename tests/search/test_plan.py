"""What comes next, what fits, and what is said where nothing does."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tellapart.evaluation.predictions import Predictions
from tellapart.recipe_reading import load_recipe
from tellapart.search.choose import losses_of
from tellapart.search.costs import Costs
from tellapart.search.outcome import Outcome
from tellapart.search.plan import Ended, Planned, State, next_candidate, promise_of
from tellapart.search.record import Trial
from tellapart.search.space import Facts, first_candidate, probe_candidates, tuning_candidates


def predictions(errors: int, images: int) -> Predictions:
    """Two classes; so many of the images are answered wrongly."""
    right = np.where(np.arange(images) < errors, 0.05, 0.999)
    return Predictions(
        "validation", ("a", "b"), tuple(f"{n}.jpg" for n in range(images)),
        np.zeros(images, np.int64), np.column_stack([right, 1 - right]),
    )  # fmt: skip


def standing(errors: int, left: float, tried: tuple[Trial, ...] = (), images: int = 300) -> State:
    """2,000 photographs of 224 pixels to train on, 300 that choose, 5 minutes in all."""
    recipe = load_recipe("auto")
    parts = np.array(["train"] * 2000 + ["validation"] * images + ["test"] * 300)
    study = SimpleNamespace(table=Sized(parts), num_train=2000, num_validation=images,
                            by_folds=False)  # fmt: skip
    validation = predictions(errors, images)
    best = cast(Outcome, SimpleNamespace(
        candidate=first_candidate(recipe, 224), errors=errors, losses=losses_of(validation),
        validation=validation,
    ))  # fmt: skip
    return State(cast(Any, study), Facts(recipe, 224, 224), best, tried, 300.0, left)


def trial(number: int, name: str, **more: Any) -> Trial:
    """A probe that failed, but for what is given."""
    usual = {
        "family": "probe", "description": "", "why": "", "status": "failed", "seconds": 1.0,
        "ended": 1.0, "became_best": False, "recipe": "",
    }  # fmt: skip
    return Trial(number=number, name=name, **cast(Any, usual | more))


def failed_probes(state: State) -> tuple[Trial, ...]:
    """Every probe that could be tried, as tried in vain."""
    found = probe_candidates(state.facts, state.best.candidate)
    return tuple(trial(number, one.name) for number, one in enumerate(found, start=2))


class Sized:
    """A table of which only the parts are asked for."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)


def costs() -> Costs:
    found = Costs(publishing=5.0)
    found.sizes.add(224)
    found.extracted.add(("tf_efficientnet_lite0", 224, "original"))
    return found


def test_few_mistakes_leave_nothing_to_show() -> None:
    ended = next_candidate(standing(errors=3, left=200.0), costs())
    assert isinstance(ended, Ended)
    assert ended.why == (
        "The best so far makes 3 mistakes on 300 validation images: no candidate could show more "
        "than chance."
    )


def test_what_comes_next_fits_into_the_time_left() -> None:
    for left in (30.0, 60.0, 120.0, 300.0):
        found = next_candidate(standing(errors=60, left=left), costs())
        if isinstance(found, Planned):
            assert found.seconds < left


def test_with_no_time_for_what_would_gain_the_time_is_blamed() -> None:
    names = (
        "first-mirrored", "first-discriminant", "first-network", "probe-lite2-224",
        "probe-lite2-256", "probe-lite2-260", "probe-lite0-224-lite2-224",
        "probe-lite0-224-lite2-256", "probe-lite0-224-lite2-260",
    )  # fmt: skip
    tried = tuple(trial(n, name, status="done") for n, name in enumerate(names, start=1))
    ended = next_candidate(standing(errors=60, left=35.0, tried=tried), costs())
    assert isinstance(ended, Ended)
    assert ended.why == "The 35 s left are too short for what is left."


def test_photographs_are_not_tuned_on_stamps() -> None:
    found = {
        candidate.size: candidate.promise
        for seconds in range(20, 2000, 20)
        for candidate in tuning_candidates(
            Facts(load_recipe("auto"), 192, 200), standing(60, 300.0).study, costs(), seconds
        )
        if candidate.family == "full" and "lite0" in candidate.name
    }
    assert min(found) >= 96 and max(found) >= 192
    promises = [found[size] for size in sorted(found)]
    assert promises == sorted(promises) and promises[0] < 0.7 * promises[-1]


def test_features_that_suit_are_tuned_gently_and_others_thoroughly() -> None:
    def tuned(facts: Facts) -> dict[str, Any]:
        found = tuning_candidates(facts, standing(60, 900.0).study, costs(), 900.0)
        return {candidate.name: candidate.recipe for candidate in found}

    recipe = load_recipe("auto")
    suited = tuned(Facts(recipe, 224, 224, suits=True))
    assert suited and all(
        one.fine_tuning and one.fine_tuning.learning_rate <= 1e-4 for one in suited.values()
    )
    others = tuned(Facts(recipe, 224, 224))
    whole = [one for name, one in others.items() if not name.startswith("tune-last")]
    assert whole and all(one.fine_tuning is None for one in whole)
    assert all(
        one.training.progressive_resizing.image_size >= 128
        for one in whole
        if one.training.progressive_resizing
    )


def test_without_an_end_to_the_time_the_largest_tuning_comes_at_last() -> None:
    """What more time would buy: cheap ones first, and no limit to what one costs."""
    found = next_candidate(standing(errors=60, left=math.inf), costs())
    assert isinstance(found, Planned)
    tried = failed_probes(standing(60, 1.0))
    found = next_candidate(standing(errors=60, left=math.inf, tried=tried), costs())
    assert isinstance(found, Planned) and found.candidate.family in ("partial", "full")
    assert math.isfinite(found.seconds) and found.seconds > 100


def test_what_few_images_and_unequal_classes_call_for_is_tried_there_only() -> None:
    first = standing(60, 100.0).best.candidate
    plain = {c.name for c in probe_candidates(Facts(load_recipe("auto"), 224, 224), first)}
    facts = Facts(load_recipe("auto"), 224, 224, few=True, unequal=True)
    own = {c.name: c.recipe.probe for c in probe_candidates(facts, first)}
    assert {*own} - plain == {"first-neighbours", "first-balanced"}
    assert own["first-neighbours"].head == "neighbours"
    assert own["first-balanced"].class_weight == "balanced"


def test_tiny_pictures_do_not_grow_from_stamps() -> None:
    facts = Facts(load_recipe("auto"), 96, 32)
    found = [
        candidate
        for seconds in (60.0, 300.0, 1200.0)
        for candidate in tuning_candidates(facts, standing(60, 900.0).study, costs(), seconds)
        if candidate.family == "full"
    ]
    grown = [c.recipe.training.progressive_resizing for c in found]
    assert found and all(one is None or one.image_size >= 64 for one in grown)


def test_two_backbones_side_by_side_are_tried_and_cost_what_both_do() -> None:
    state = standing(errors=60, left=200.0)
    found = {c.name: c for c in probe_candidates(state.facts, state.best.candidate)}
    joined = next(c for name, c in found.items() if name.startswith("probe-lite0-224-lite2"))
    alone = next(c for name, c in found.items() if name.startswith("probe-lite2"))
    asked = costs()
    both = asked.of(state.study, joined.recipe, joined.size)
    assert both >= asked.of(state.study, alone.recipe, alone.size)  # the first's are there
    asked.extracted.clear()
    assert asked.of(state.study, joined.recipe, joined.size) > both


def test_a_backbone_of_the_hub_cache_is_tried_and_a_folder_that_is_none_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for repository in ("timm/resnet18.a1_in1k", "timm/no-such-network.in1k"):
        folder = tmp_path / f"models--{repository.replace('/', '--')}"
        snapshot = folder / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0" * 40)
        (snapshot / "model.safetensors").write_bytes(b"")
    state = standing(errors=60, left=200.0)
    names = [c.name for c in probe_candidates(state.facts, state.best.candidate)]
    assert "probe-resnet18-224" in names and not any("no-such" in name for name in names)


def test_a_head_or_a_view_is_changed_of_probes_only() -> None:
    """A network that was tuned, or an ensemble, would be trained whole again, for nothing."""
    facts = Facts(load_recipe("auto"), 224, 224, few=True, unequal=True)
    tuned = next(iter(tuning_candidates(facts, standing(60, 900.0).study, costs(), 900.0)))
    together = replace(
        tuned, name="together", family="ensemble",
        recipe=tuned.recipe.model_copy(update={"method": "ensemble"}),
    )  # fmt: skip
    for best in (tuned, together):
        assert all(c.recipe.method == "probe" for c in probe_candidates(facts, best))


def test_small_pictures_grow_and_are_mixed_where_they_would_be_known_by_heart() -> None:
    """CIFAR-10 in twenty minutes: no time for the last stages alone, which whole tuning covers."""

    def of(images: int, left: float) -> State:
        state = standing(errors=200, left=left, images=1000)
        study = SimpleNamespace(
            table=Sized(np.array(["train"] * images + ["validation"] * 1000)), num_train=images,
            num_validation=1000, by_folds=False,
        )  # fmt: skip
        return replace(
            state, study=cast(Any, study), facts=Facts(load_recipe("auto"), 64, 32), seconds=left
        )

    rates = Costs(training=0.15, features=0.03)
    rates.measured |= {"training", "features"}
    tried = failed_probes(of(40_000, 1.0))
    found = next_candidate(replace(of(40_000, 1100.0), trials=tried), rates)
    assert isinstance(found, Planned) and found.candidate.family == "full"
    training = found.candidate.recipe.training
    assert found.candidate.size >= 96 and training.cutmix == 1.0
    assert training.progressive_resizing and training.progressive_resizing.image_size == 64
    few = next_candidate(replace(of(1_000, 1100.0), trials=tried), rates)
    assert isinstance(few, Planned) and few.candidate.recipe.training.cutmix == 0.0


def test_the_last_stages_alone_do_not_take_the_time_of_a_whole_training() -> None:
    """Whole trainings promise more, and gain with each epoch: they are not cut short."""
    rates = costs()
    rates.measured.add("training")
    for left in range(100, 1200, 50):
        state = replace(standing(errors=60, left=float(left)), seconds=float(left))

        def whole(left: float, state: State = state) -> float:
            found = tuning_candidates(state.facts, state.study, rates, left)
            return max((c.promise for c in found if c.family == "full"), default=0.0)

        found = next_candidate(state, rates)
        if isinstance(found, Planned) and found.candidate.family == "partial":
            room = left - rates.finishing(
                state.study, state.best.candidate.recipe, state.best.candidate.size
            )
            before, after = whole(0.9 * room), whole(0.9 * (room - found.seconds))
            assert after >= 0.9 * before or before <= found.candidate.promise


def test_a_training_is_asked_of_the_backbone_whose_probe_was_good() -> None:
    """A training takes its share of the mistakes of its own probe, not of the best so far's."""

    def whole(lite2: float, best: float) -> str:
        state = standing(errors=60, left=900.0)
        losses = np.full(300, best)
        state.best.__dict__["losses"] = losses
        known = {"first": 0.30, "probe-lite2-260": lite2}
        trials = tuple(
            trial(n, name, family="first" if n == 1 else "probe", status="done", log_loss=loss)
            for n, (name, loss) in enumerate(known.items(), start=1)
        )
        state = replace(state, trials=trials, seconds=900.0)
        found = [
            c
            for c in tuning_candidates(state.facts, state.study, costs(), 900.0)
            if c.family == "full"
        ]
        return max(found, key=lambda c: promise_of(c, state)).name.split("-")[1]

    assert whole(lite2=0.15, best=0.15) == "lite2"
    assert whole(lite2=0.40, best=0.30) == "lite0"


def test_no_training_is_tried_whose_probe_is_far_from_the_best() -> None:
    """A fifth of the mistakes of a probe that makes twice as many as the best is no gain."""
    state = standing(errors=60, left=900.0)
    state.best.__dict__["losses"] = np.full(300, 0.1)
    first = trial(1, "first", family="first", status="done", log_loss=0.4)
    state = replace(state, trials=(first,), seconds=900.0)
    found = list(tuning_candidates(state.facts, state.study, costs(), 900.0))
    assert found and all(promise_of(candidate, state) < 0 for candidate in found)


def test_a_head_on_many_images_is_not_thought_to_take_a_moment() -> None:
    """Forty thousand images take tens of seconds; what was seen here counts from then on."""
    few, many = standing(60, 900.0).study, standing(60, 900.0).study
    many.__dict__["num_train"] = 40_000
    recipe = first_candidate(load_recipe("auto"), 224).recipe
    rates = costs()
    assert rates.probe(many, recipe, 224) > 20 > 5 > rates.probe(few, recipe, 224)
    rates.saw_head(7.0, recipe)
    assert rates.probe(many, recipe, 224) == pytest.approx(7.0)


def test_a_classifier_unsure_of_all_few_images_may_be_bettered_though_it_made_one_mistake() -> None:
    """Of 40 images one is wrong, but each answer is sure by 95 %: two are to be expected."""
    state = standing(errors=1, left=200.0, images=40)
    unsure = replace(
        predictions(1, 40),
        probabilities=np.column_stack([np.full(40, 0.95), np.full(40, 0.05)]),
    )
    state.best.__dict__.update(losses=losses_of(unsure), validation=unsure)
    found = next_candidate(state, costs())
    assert isinstance(found, Planned) and "of the mistakes on many images might go" in found.why
