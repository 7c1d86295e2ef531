"""Virtual clouds: the two HTTP APIs with which units are registered, as strict as the real ones.

They know nodes by their certificates, and nothing else of rmfab. `store` is what a cloud has, `storage` its presigned
uploads, `certificates` which certificates it takes, `sheet` how it reads a CSV. `rainmaker` and `neo` are the APIs,
`aws_signature` what Neo checks on each request; `server` speaks HTTPS and plays the `faults`. Start with `serve_api`.
Written from what is published about the clouds, apart from the client in rmfab.cloud: the two check each other.
"""
