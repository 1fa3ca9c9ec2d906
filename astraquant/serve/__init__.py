"""The REST and WebSocket face of the library: a thin layer over the functions of a notebook.

`app` joins what the other modules do: `gate` (who is let in), `query` (text to arguments),
`catalogue` (whose candles are served), `desk` (work off the event loop, with limits), `answers`
(results as JSON), `schema` (what OpenAPI says of them), `relay` (live candles) and `page` (the
start page). FastAPI and uvicorn are an extra: nothing but `app` and `server` imports them.
"""
