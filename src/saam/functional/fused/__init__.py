"""The joint operation ``x * factor(squeeze(x))`` with two passes over ``x`` in the forward and two in the backward.

Plain autograd would pass over the map once per step and keep copies of its size. Here two autograd nodes surround the
ordinary autograd of the small tensors between them:

    squeeze   z = statistics of x (B, K, C)                        one pass
    factor    a = respond(z), any modules on small tensors         ordinary autograd
    rescale   y = a x                                              one pass

    backward of rescale   da = sum over pixels of dy x             one pass
    backward of squeeze   dx = a dy + (dz times dz/dx)             one pass, which also gives the scorer's gradient

For the last line, squeeze needs ``dy`` and ``a``, which only rescale has. Squeeze therefore gives rescale two tokens,
tensors of one number that are expanded to the shapes of ``x`` and ``a``. Rescale returns ``dy`` and ``a`` as their
gradients, and autograd carries these to squeeze. The only tensor of the size of ``x`` that is kept is ``x``. With
scores s = w.x, weights p = softmax(s) and the context z = sum p x:

    ds = p (sum_c dz_c x_c - dz.z);    dx = a dy + p dz + w ds;    dw = sum ds x

The files: ``joint`` has the functions that modules call, ``operations`` defines the arguments and results of the four
operations, ``autograd`` connects them, and ``cpu`` and ``triton`` load their implementations, the latter on request.
"""

from saam.functional.fused.joint import Pooling, attend, pool
from saam.functional.fused.operations import CHANNEL, MAX, MEAN, PIXEL, SCORES, VARIANCE

__all__ = ["CHANNEL", "MAX", "MEAN", "PIXEL", "SCORES", "VARIANCE", "Pooling", "attend", "pool"]
