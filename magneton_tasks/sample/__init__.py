"""The sample volume of demo, tests and docs: made-up tissue with an imperfect affinity map."""
