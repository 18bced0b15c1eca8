"""The service: a queue of submitted studies, the processes that run them, an HTTP interface and a web page.

The modules in the order of their imports:

- `queue`: submissions and their states, in a table of their own.
- `places`: the folders and files of a server.
- `runner`: runs each study as a child process, and starts it again after a kill.
- `policy`: what a submitted study may use.
- `tokens`: who may do what.
- `live`: what is shown of a study, read from its database once for all clients.
- `http`: refuses requests and connections before they reach a route.
- `submissions`, `products`: a study that comes in, and its report, model and predictions that go out.
- `routes`: the routes. `serve`: starts the server. `client`: talks to one.
"""
