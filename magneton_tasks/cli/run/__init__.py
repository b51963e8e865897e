"""``magneton run``, ``plan``, ``attach`` and the stages that runners call."""
