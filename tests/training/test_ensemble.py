"""Ensembles: networks joined into one."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy import special

from app.bundle import open_bundle
from app.inference.keras_runtime import KerasRuntime, layer_outputs
from app.inference.litert_runtime import open_runtime
from app.verdict import energy
from training import calibrate
from training.architectures import classic, dropconnect
from training.compiled import count_multiply_adds
from training.data import Split
from training.ensemble import join, join_fitted
from training.fit import Fitted, fit
from training.layers import fold
from training.publish import Splits, Trained, publish
from training.recipe import Ensemble, Recipe
from training.recipes.ensemble import ENSEMBLE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own


@pytest.fixture(scope="module")
def members() -> dict[str, keras.Sequential]:
    """Two untrained networks of different architectures."""
    keras.utils.set_random_seed(4)
    return {
        "one": classic(batch_normalization=True, conv_dropout=0.1, dense_dropout=0.5),
        "two": fold(dropconnect(rate=0.5, masks=2, conv_dropout=0)),
    }


def test_members_vote_with_equal_weights(
    members: dict[str, keras.Sequential], train_digits: Split
) -> None:
    """Probabilities and energies are means of the members, features are concatenated."""
    images = train_digits.images[:20]
    alone = [KerasRuntime(member).predict(images) for member in members.values()]
    joined = KerasRuntime(join(members)).predict(images)
    np.testing.assert_allclose(
        joined.probabilities, np.mean([one.probabilities for one in alone], axis=0), atol=1e-6
    )
    np.testing.assert_allclose(
        energy(joined.logits), np.mean([energy(one.logits) for one in alone], axis=0), atol=1e-4
    )
    np.testing.assert_allclose(
        joined.features, np.concatenate([one.features for one in alone], axis=1), atol=1e-5
    )


def test_temperature_of_the_vote() -> None:
    """The temperature of several networks maximises the likelihood of their mean."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 10, 4000).astype(np.uint8)
    # Two networks that are right about different digits, and each as sure as it is right.
    logits = [rng.normal(size=(4000, 10)).astype(np.float32) for _ in range(2)]
    for half, own in enumerate(logits):
        own[np.arange(4000), labels] += np.where(np.arange(4000) % 2 == half, 4, 0)

    def likelihood(temperature: float) -> float:
        shares = np.mean([special.softmax(own / temperature, axis=1) for own in logits], axis=0)
        return float(np.log(shares[np.arange(4000), labels]).mean())

    fitted = calibrate.fit_temperature(logits, labels)
    assert likelihood(fitted) > max(likelihood(0.95 * fitted), likelihood(1.05 * fitted))


def test_layers_are_stock_and_named_by_member(
    members: dict[str, keras.Sequential],
) -> None:
    """Every layer has a path under its member and can be inspected; dropout is removed."""
    joined = join(members)
    paths = layer_outputs(joined, np.zeros((1, 28, 28, 1), np.float32))
    assert {"one/conv_1_1", "two/relu_dense", "two/softmax", "vote"} <= set(paths)
    assert not any("dropout" in path for path in paths)
    assert count_multiply_adds(joined) == sum(
        count_multiply_adds(member) for member in members.values()
    )


def test_joined_runs_become_a_bundle(
    tiny: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """Members are trained separately and published as one model with one compiled model."""
    recipes = tuple(replace(tiny, name=name, refit=None) for name in ("one", "two"))
    ensemble = Ensemble("both", "Two networks, voting.", recipes, seeds=(3, 4))
    runs = {
        recipe.name: fit(recipe, train_digits, held_out, tmp_path / recipe.name, seed=seed)
        for recipe, seed in zip(recipes, ensemble.seeds, strict=True)
    }
    trained = Trained(ensemble, None, join_fitted(runs, held_out))
    metadata = publish(trained, Splits(held_out, None), tmp_path / "model" / "both")
    bundle = open_bundle(tmp_path / "model" / "both")
    answers = open_runtime(bundle).predict(held_out.images)
    wrong = (answers.probabilities.argmax(axis=1) != held_out.labels).sum()
    assert metadata.validation.errors == wrong
    assert metadata.epochs == []
    text = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "Recipe `one`" in text
    assert "Recipe `two`" in text
    assert "seed 3" in text
    assert "seed 4" in text


def test_refitted_members_keep_their_temperatures(
    members: dict[str, keras.Sequential], held_out: Split, tmp_path: Path
) -> None:
    """Refitted members are published, with the temperatures fitted before the refit."""
    one = members["one"]
    before, after = (keras.models.clone_model(one) for _ in range(2))
    before.set_weights(one.get_weights())
    after.set_weights([weights * 1.1 for weights in one.get_weights()])
    raw = after.get_layer("logits").get_weights()[0]
    joined = join_fitted({"one": Fitted(before, [], 1, tmp_path, after)}, held_out)
    scale = before.get_layer("logits").get_weights()[0] / one.get_layer("logits").get_weights()[0]
    assert joined.refitted
    published = joined.refitted.get_layer("one").get_layer("logits").get_weights()[0]
    np.testing.assert_allclose(published, raw * scale, rtol=1e-5)


def test_members_need_distinct_names(small: Recipe) -> None:
    """Two members of one recipe need two names, and each member needs a seed."""
    for members, seeds in (((small, small), (1, 2)), ((small,), (1, 2))):
        with pytest.raises(ValueError, match="a name of its own and a seed"):
            Ensemble("both", "Two networks, voting.", members, seeds)


def test_members_hold_out_the_same_digits() -> None:
    """No member learns from digits that were used to choose another."""
    assert len({member.validation_count for member in ENSEMBLE.members}) == 1
