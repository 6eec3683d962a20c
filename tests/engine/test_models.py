"""Models: what is done to one while it is only asked, and what is left of that."""

import pytest
import torch

from pzlib.engine.models import evaluating


@pytest.mark.parametrize("training", [True, False])
def test_a_model_that_is_asked_goes_back_to_its_mode(training):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)).train(training)
    with evaluating(model) as asked:
        assert asked is model and not any(part.training for part in model.modules())
        assert torch.equal(model(torch.ones(2)), model(torch.ones(2))) and not torch.is_grad_enabled()
    assert torch.is_grad_enabled() and all(part.training is training for part in model.modules())
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert torch.is_grad_enabled() and all(part.training is training for part in model.modules())
