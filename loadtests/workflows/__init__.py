"""What `invoke loadtest` and `invoke capacity` do: load on an environment, told where everything is.

Only this package may import betelgeuse: the rest of loadtests also runs where Locust alone is installed.
"""
