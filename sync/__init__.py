"""The engine: keeps the local database and the vendors in step.

Reading order: `states` (what may happen to a unit of work), `schedule` (what is due), `pull` (one slice),
`api` and `store` (the two doors), `limiter`, `app`, `settings`.
"""
