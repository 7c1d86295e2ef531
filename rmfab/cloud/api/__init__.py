"""The HTTP APIs with which clouds register units: those of ESP RainMaker and of RainMaker Neo.

`registrar` is what both can do; `rainmaker` and `neo` do it. Below them: `https` is one request, `trouble` what its
errors mean, `pace` how often it is tried; `tokens` and `sigv4` are how a request is authorised. Passwords, tokens and
keys never leave these modules in a message. Start reading at `registrar`.
"""
