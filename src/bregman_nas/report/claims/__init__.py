"""The article's claims, each decided by a rule that was fixed before there were results.

A claim rests on one or more findings: a number, its interval, and whether it bears the claim out.

- The seed is the unit. Means have the 95% interval of Student's t over the seeds, differences of
  two networks that of Welch, shares of seeds the exact one of Clopper and Pearson.
- A finding supports its claim if the whole interval lies where the claim puts the number, and
  contradicts it if the whole interval lies elsewhere. Where the interval covers the threshold, or
  fewer than `claim.ENOUGH_SEEDS` seeds converged, it is undecided.
- That a number is about as large as another is decided as equivalence: the interval must lie
  within a margin, which is two one-sided tests.
- A claim is supported if all its findings support it. It is contradicted if one of them
  contradicts it: a claim on two tasks must hold on both. If results that it needs are absent, it
  is not run; else it is undecided. Intervals are not widened for the number of findings. Support
  needs no such correction, since all of them must hold; a contradiction by one finding among many
  can be chance, and the table shows which finding it is.
- A diverged seed counts. It has no shape, and stands against every share of seeds. It has no
  width, and a mean leaves it out; if it is one of too many (`claim.TOO_MANY_DIVERGED`), the mean
  decides nothing. Its loss is that of answering zero.
- A DenseNet that collapsed keeps about the kernels of its start, which say nothing of the method:
  if it is one of too many, the claim is undecided. This rule was added when results were in.
- Protocols are decided apart, by the same rules.

What some of these rules cannot answer, those in `revised` can, which fresh seeds decide.

The article counts the input as its first layer: its second and last layers are 1 and 6 here.
"""
