"""The embedded default engine: plays every role by rule, with faults planted at known rates.

So the whole recipe can be seen, tested and measured against ground truth with no GPU, no weights and no network.

    engine.py          RehearsalEngine: who is asked, what call fault strikes
    faults.py          RehearsalSettings and Plan: every fault as a pure function, hence also the ground truth
    truth.py           what a row's dialogues have to come to, given the plan
    reading.py         what is made of a prompt: gist, topic, stance, policies that bear on it
    phrases/, lines.py       the words, and how they are filled
    seeds.py deliberators.py refiner.py whisper.py     the roles
"""
