"""Refusal of requests and connections before they reach a route.

- `guard`: requests from unknown hosts and other origins, large and slow bodies, other media types.
- `connections`: connections that send no request, or do not read the answer, and too many of one client.
"""
