"""Whitening makes the patches of images uncorrelated, by NumPy's definition."""

import numpy as np
import torch
from torch import Tensor, nn

from synthetic import make_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.networks.whitening import IMAGES, PATCH, Whitening, fit_whitening
from toypipe.params.schema import Speedrun, Toy


def _smooth_images(count: int = 50) -> Tensor:
    """Return numbers in which neighbours are alike, as in pictures."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 3, 20, 20, generator=generator)
    return nn.functional.avg_pool2d(noise, 5, stride=1) * 5


def _fitted(images: Tensor) -> Whitening:
    layer = Whitening()
    layer.fit(images)
    return layer


def test_what_comes_out_is_uncorrelated() -> None:
    """On the images it was fitted to: uncorrelated, of mean square 1, with 1 added to each."""
    images = _smooth_images()
    shifted = _fitted(images)(images)[:, :12].transpose(0, 1).flatten(1).numpy()

    directions = shifted - 1
    correlation = directions @ directions.T / directions.shape[1]
    np.testing.assert_allclose(correlation, np.eye(12), atol=0.02)


def test_the_filters_are_those_of_the_definition() -> None:
    """Eigenvectors of NumPy's second moments of patches cut by hand, over their deviations."""
    images = _smooth_images(4)
    rows = images.shape[-1] - PATCH + 1
    patches = np.array(
        [
            images[i, :, y : y + PATCH, x : x + PATCH].flatten().numpy()
            for i in range(4)
            for y in range(rows)
            for x in range(rows)
        ]
    )
    variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))
    expected = (directions / np.sqrt(variances + 5e-4)).T
    filters = _fitted(images).weight[:12].flatten(1).numpy()

    sign = np.sign((filters * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(filters * sign, expected, rtol=1e-3, atol=1e-3)


def test_each_direction_has_both_signs() -> None:
    """The second half of the filters is the first, negated."""
    weight = _fitted(_smooth_images()).weight

    assert torch.equal(weight[12:], -weight[:12])


def test_images_without_variance_do_no_harm() -> None:
    """For images without variance the filters are finite."""
    assert _fitted(torch.zeros(5, 3, 8, 8)).weight.isfinite().all()


def test_whitening_is_not_trained() -> None:
    """The layer has no parameter that an optimizer would move."""
    assert not any(weight.requires_grad for weight in Whitening().parameters())


def test_a_network_is_fitted_to_its_first_thousand_images() -> None:
    """The filters are fitted to the first thousand images, normalised."""
    images = make_split(IMAGES + 8, size=9).images
    normalize = build_normalize("standard", images)
    params = Speedrun(
        name="speedrun",
        channels=[8, 8, 32, 32, 32, 32],
        kernels=[3] * 6,
        whitening=True,
        identity=True,
    )
    model = build_model(params, Shape(9, 3), normalize, seed=0)
    fit_whitening(model, images)
    expected = _fitted(normalize(images[:IMAGES])).weight

    assert torch.equal(model.state_dict()["network.0.weight"], expected)


def test_other_networks_are_left_alone() -> None:
    """A network without whitening is not changed."""
    images = make_split(8).images
    model = build_model(Toy(name="toy"), Shape(16, 3), build_normalize("unit", images), seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_whitening(model, images)

    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
