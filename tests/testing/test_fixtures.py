from __future__ import annotations

import pytest

from acaikit.testing.fixtures import DATA, Finite, LinesAs, small_trainer


@pytest.mark.parametrize("data", DATA)
def test_the_data_have_the_shape_and_the_labels_that_were_asked_for(data: str) -> None:
    shape, _ = DATA[data]
    for dataset, labels in ((LinesAs(shape), True), (Finite(shape, labels=True), True), (Finite(shape, False), False)):
        for split in (dataset.training(10), dataset.test()):
            assert split.data.shape[1:] == shape
            assert (split.labels is not None) == (dataset.classes is not None) == labels
        assert len(dataset.training(10_000)) == 128
        assert dataset.test().data.equal(LinesAs(shape).test().data)
    assert len(Finite(shape, labels=True, test_size=1).test()) == 1
    trainer = small_trainer([], data, dataset=lambda shape: Finite(shape, labels=False))
    assert trainer.step()["reconstruction"].isfinite()
    assert trainer.probe is None
