"""What a type of agents gets whose spec is silent about how it learns."""

from rbcc.compiler.schema.spec import Learner


DEFAULTS = Learner(
    algorithm="ppo",
    network=[64, 64],
    learning_rate="5e-4",
    epochs=2,
    period=1,
    explorers=0.25,
    clip="0.1",
    value_weight="0.5",
    gae="0.95",
    entropy="0.01",
    sharpness="6",
    gradient_clip="2",
    reward_scale="1",
    starts=0.0,
    joint=[],
    lagrangian={},
)
"""`rbcc compile --emit ir` shows the resolved settings."""
