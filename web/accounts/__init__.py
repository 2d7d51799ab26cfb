"""Users, roles, API keys, logins and the audit log: who may do what in which workspace.

Nothing here is active on a machine of one's own: without users and on loopback, whoever sits there is the owner.
`policy.py` says what a request needs, `middleware.py` enforces it for every route and WebSocket, `access.py` lets a
route whose workspace stands in the body ask (`request.state.principal.allows(workspace, "read")`).
"""
