"""elman from Python: train, sample, look at a unit.

python examples/train.py mine.txt
"""

import sys

import elman

model = elman.train("lm", sys.argv[1], for_="30s")
print(model.sample(length=300, seed=1))

with elman.record() as seen:
    text = model.sample(length=20, seed=2)
print("what can be seen inside:", ", ".join(seen))
for character, value in zip(text, seen["1.f"][0, :, 7].tolist(), strict=True):
    print(f"forget gate 7 is {value:.2f} when {character!r} is written")
