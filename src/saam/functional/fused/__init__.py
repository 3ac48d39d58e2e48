"""The joint operation ``x * factor(squeeze(x))`` in two passes over ``x``, and its backward in two.

Written out, autograd would pass over the map once for every step and keep copies of its size. Here two nodes stand
around the ordinary autograd of the small tensors between them:

    squeeze   z = statistics of x (B, K, C)                        one pass
    factor    a = respond(z), any modules on small tensors         autograd as always
    rescale   y = a x                                              one pass

    backward of rescale   da = sum over pixels of dy x             one pass
    backward of squeeze   dx = a dy + (dz times dz/dx)             one pass, which also gives the scorer's gradient

For the last line, squeeze needs ``dy`` and ``a``, which only rescale has. It gives rescale two tokens, tensors of one
number that are expanded to the shapes of ``x`` and ``a``; rescale returns ``dy`` and ``a`` as their gradients, and
autograd carries these to squeeze. Nothing of the size of ``x`` is kept but ``x``. With scores s = w.x, weights
p = softmax(s) and the context z = sum p x:

    ds = p (sum_c dz_c x_c - dz.z);    dx = a dy + p dz + w ds;    dw = sum ds x

The files: ``joint`` has what modules call; ``operations`` says what the four operations take and return; ``autograd``
ties them together; ``cpu`` and ``triton`` load their implementations, the second when somebody asks for it.
"""

from saam.functional.fused.joint import Pooling, attend, pool
from saam.functional.fused.operations import CHANNEL, MAX, MEAN, PIXEL, SCORES, VARIANCE

__all__ = ["CHANNEL", "MAX", "MEAN", "PIXEL", "SCORES", "VARIANCE", "Pooling", "attend", "pool"]
