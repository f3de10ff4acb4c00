"""The claims whose registered rules could not answer them, each with a rule that can.

These rules were written after seeds 0 to 9 had been seen and before seeds 10 to 19 were searched;
they are decided on the latter alone. The registered rules stay, unchanged, beside them.

- `numbers` has the arithmetic, on plain arrays.
- `revision` has what a revised claim is, which seeds decide it, and how intervals become verdicts.
- `findings` has the numbers that decide, and where they must lie; `claims` says so in words.
"""
