"""The messages on the wire: .proto files, and what protoc made of them.

After a change, from the root of the checkout (grpcio-tools is in the extra `dev`):
`python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. rmfab/provisioning/proto/*.proto`
"""
