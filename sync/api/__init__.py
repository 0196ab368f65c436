"""The door to HTTP: session, guard, secrets, limits, deadlines, outcome.

Reading order: `opening` (what a door is made of), `client` (the door), `exchange` and `wire` (one request),
`guard` (which addresses), `sign`, `keys` and `tokens` (who we are), `quota` (how often).
"""
