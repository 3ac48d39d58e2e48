"""How every attention that is not of the grammar is held against its literal reference."""

import pytest
import torch


def randomise(module):
    """Draw every parameter and running statistic, so that no zero, one or bias hides a mistake."""
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point():
                tensor.copy_(torch.randn_like(tensor) / tensor[0].numel() ** 0.5)


@pytest.fixture
def agree():
    """Compare output, all gradients and running statistics of a module with those of its reference."""

    def check(module, reference, shape=(3, 6, 5, 7)):
        module.double()
        for training in (True, False):
            randomise(module)
            weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
            names = [name for name, _ in module.named_parameters()]
            x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
            upstream = torch.randn(shape, dtype=torch.float64)

            output = module.train(training)(x)
            gradients = torch.autograd.grad(output, [x, *module.parameters()], upstream)

            x = x.detach().requires_grad_()
            leaves = [weights[name].requires_grad_() for name in names]
            expected = reference(x, weights, training)
            torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-10)
            for name, ours, theirs in zip(
                ["x", *names], gradients, torch.autograd.grad(expected, [x, *leaves], upstream), strict=True
            ):
                torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10, msg=lambda text, name=name: name + text)
            for name, tensor in module.named_buffers():
                if tensor.is_floating_point():
                    torch.testing.assert_close(tensor, weights[name])

    return check
