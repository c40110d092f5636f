"""Images unlike those of training are told from those that are like them."""

import json

import numpy as np
import pytest
from PIL import Image

from elman.data.builtin import generate
from elman.data.familiar import LEAST, Familiar, look
from elman.data.image import LazyImage
from elman.tasks import vision as vision


class Made(LazyImage):
    def __init__(self, name, image):
        self.name, self._image = name, image

    def image(self):
        return self._image


def photograph(seed):
    """Rough everywhere, as no drawing is: clouds of noise of two sizes."""
    draw = np.random.default_rng(seed)
    rough, fine = (draw.integers(0, 256, (side, side, 3)).astype(np.uint8) for side in (6, 90))
    clouds = Image.fromarray(rough).resize((90, 90), Image.Resampling.BICUBIC)
    return Image.blend(clouds, Image.fromarray(fine), 0.3)


@pytest.fixture(scope="module")
def scenes():
    found = generate("builtin:scenes:count=260")
    return list({picture.name: picture for picture in found["image"]}.values())


@pytest.fixture(scope="module")
def known(scenes):
    return Familiar.learn(scenes[:200])


def test_a_scene_is_like_scenes_and_a_photograph_is_not(scenes, known):
    assert not any(known.far(scene.image()) for scene in scenes[200:])
    assert all(known.far(photograph(seed)) for seed in range(5))


def test_photographs_are_like_photographs(scenes):
    known = Familiar.learn([Made(str(seed), photograph(seed)) for seed in range(120)])
    assert sum(known.far(photograph(seed)) for seed in range(200, 230)) <= 1
    assert all(known.far(scene.image()) for scene in scenes[:5])


def test_the_size_of_a_picture_does_not_make_it_strange(scenes, known):
    assert not any(known.far(scene.image().resize((400, 400))) for scene in scenes[200:210])


def test_it_is_the_same_from_json(scenes, known):
    again = Familiar(**json.loads(json.dumps(known.config())))
    for image in (scenes[0].image(), photograph(0)):
        assert again.distance(look(image)) == pytest.approx(known.distance(look(image)), rel=1e-3)
    assert again.limit == known.limit


def test_the_distance_is_that_of_mahalanobis():
    draw = np.random.default_rng(0)
    mean, factor = draw.normal(size=5), draw.normal(size=(5, 5))
    covariance = np.linalg.inv(factor @ factor.T)
    x = draw.normal(size=5)
    expected = np.sqrt((x - mean) @ np.linalg.inv(covariance) @ (x - mean) / 5)
    assert Familiar(mean, factor, 1.0).distance(x) == pytest.approx(expected)


def test_from_a_few_pictures_nothing_is_learnt(scenes):
    assert Familiar.learn(scenes[: LEAST - 1]) is None
    assert vision.familiar(scenes[: LEAST - 1]) == {}


def test_pictures_that_are_far_are_told_in_one_line(scenes, known):
    lines, config = [], {"familiar": known.config()}
    vision.warn(scenes[:3], config, lines.append)
    assert lines == []
    vision.warn([scenes[0], Made("holiday.jpg", photograph(1))], config, lines.append)
    assert len(lines) == 1
    assert "holiday.jpg is unlike" in lines[0]
    vision.warn([Made(f"{n}.jpg", photograph(n)) for n in range(3)], config, lines.append)
    assert len(lines) == 2
    assert "3 of 3 pictures (0.jpg, ...) are unlike" in lines[1]
    vision.warn([Made("any.jpg", photograph(1))], {}, lines.append)  # of an older run nothing is known
    assert len(lines) == 2


def test_predict_tells_it(scenes, tmp_path, elman):
    photograph(3).save(tmp_path / "shot.png")
    done = elman("train", "caption", "builtin:scenes:count=100", "--hidden", "16", "--steps", "2", "--no-preview",
                 "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.code == 0, done.err
    done = elman("predict", str(tmp_path / "run"), str(tmp_path / "shot.png"), "--no-picture")
    assert done.code == 0
    assert "shot.png is unlike any that the model was trained on" in done.err
