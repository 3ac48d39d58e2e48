"""
Look after every seed, without fooling yourself
===============================================

Two arms are equally good, and somebody adds seeds until a paired t-test says p < .05. With 40 seeds that happens in
more than a quarter of all comparisons. The anytime-valid evidence of saam is built for looking after every seed: it
stays below its bound in at least 95 % of comparisons, however long one looks.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from saam.comparison.anytime import e_process

trials, seeds = 2000, 40
differences = np.random.default_rng(0).normal(0, 0.5, (trials, seeds))  # no effect; half a point of spread

n = np.arange(2, seeds + 1)
means = differences.cumsum(1)[:, 1:] / n
squares = (differences**2).cumsum(1)[:, 1:]
t = means / np.sqrt((squares / n - means**2) / (n - 1))
p = 2 * stats.t.sf(np.abs(t), n - 1)
evidence = np.exp(e_process(differences, spread=0.5))

fooled = {
    "t-test after every seed": np.maximum.accumulate(p < 0.05, axis=1).mean(0),
    "evidence of 20 to 1": np.maximum.accumulate(evidence >= 20, axis=1).mean(0)[1:],
}

# %%
# Left: how many comparisons without an effect have been called different so far. Right: the evidence of 60 of them.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
for (name, share), colour in zip(fooled.items(), ("0.5", "#e07a1f"), strict=True):
    left.plot(n, 100 * share, color=colour, label=f"{name}: {100 * share[-1]:.1f} %")
left.axhline(5, color="0.7", linestyle="--", linewidth=1)
left.set(xlabel="seeds", ylabel="called different, %", ylim=(0, None))
left.legend(frameon=False)
right.semilogy(np.arange(1, seeds + 1), evidence[:60].T, color="#2a6f97", alpha=0.3, linewidth=0.8)
right.axhline(20, color="#e07a1f", linestyle="--")
right.set(xlabel="seeds", ylabel="evidence", title="the bound of 20 to 1 is rarely reached")
figure.tight_layout()
