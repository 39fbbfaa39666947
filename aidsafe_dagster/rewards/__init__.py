"""Reward functions for reinforcement learning: the recipe's judge, asked about each completion.

With TRL's GRPOTrainer, on rows of the format `trl-grpo`:

    from aidsafe_dagster.rewards import Rewards

    rewards = Rewards()                       # judge, policies and limits of the project's settings
    trainer = GRPOTrainer(..., reward_funcs=rewards.functions)

With verl: `custom_reward_function.path` is the file of this module, and `name` is `compute_score`.
"""

from aidsafe_dagster.rewards.functions import Rewards, Weights, compute_score

__all__ = ["Rewards", "Weights", "compute_score"]
