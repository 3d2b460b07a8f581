"""Adam as torch has it, without torch's compiler."""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """Torch's Adam, whose methods don't import torch's compiler first: that takes as long as importing torch itself.

    torch wraps them so that its compiler passes over them where they are compiled, which nothing here is. The steps are
    the same, but not differentiable: ``differentiable=True`` has no effect.
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
