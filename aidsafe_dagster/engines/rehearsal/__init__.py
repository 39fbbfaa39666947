"""The embedded default engine: it answers every role by rule, with known faults at known rates.

The whole recipe can be seen, tested and measured with no GPU, no weights and no network. What is
planted in an answer is written down beside it, so reports can compare it with what was found.

    engine.py              RehearsalEngine: from a request to the answer and what is planted in it
    faults.py              RehearsalSettings: the faults and their rates
    planted.py             the record of what is planted, and the file that keeps it
    dice.py                random decisions that depend on names alone
    speaker.py             one role in front of one prompt: its rates, its dice, its phrases
    reading.py             what a prompt is about, and which policies bear on it
    phrasebook.py          the phrases, from phrases/*.toml
    seeds.py deliberators.py refiner.py judges.py beliefs.py     the roles
    flaws.py               what is wrong with a text, as a judge sees it
    fitting.py             answers cut to the bounds of a request's schema
"""
