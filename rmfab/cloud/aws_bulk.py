"""Bulk registration with AWS IoT: a template, one line of parameters for each thing, a policy, and how to use them.

Source: AWS IoT Core Developer Guide, "Bulk registration" and "Provisioning templates"; limits of names and of
`templateBody` from the API reference (CreateThing, RegisterThing).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from rmfab.cloud.node import Node
from rmfab.errors import InputError

ROWS = "nodes.jsonl"
"""The file of parameters."""

POLICY = "rmfab-node"

_THING = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_LONGEST_TEMPLATE = 10_240
_OWN = "${iot:Connection.Thing.ThingName}"
_OWN_TOPICS = (f"node/{_OWN}/*", f"$aws/things/{_OWN}/*")
_INGEST = f"$aws/rules/*/node/{_OWN}/*"
"""Basic ingest, by which RainMaker's firmware publishes (esp_rmaker_mqtt.c)."""


def bulk_row(node: Node) -> str:
    """Return the line of parameters of *node*. Raise InputError if its id cannot be the name of a thing."""
    if _THING.fullmatch(node.node_id) is None:
        raise InputError(
            f'AWS IoT has no thing named "{node.node_id}"',
            where=node.serial,
            hint="names have at most 128 of A-Z a-z 0-9 : _ -",
            cause="node-id",
        )
    return json.dumps({"ThingName": node.node_id, "CertificatePem": node.pem}) + "\n"


def companions(ca: x509.Certificate) -> Mapping[str, str]:
    """Return the files beside the parameters, by name: template, policy, certificate of *ca*, instructions.

    Raise InputError if the certificate of the CA is too long for a template.
    """
    pem = ca.public_bytes(Encoding.PEM).decode()
    template = json.dumps(_template(pem), indent=2) + "\n"
    if len(template) > _LONGEST_TEMPLATE:
        raise InputError(
            f"the template would have {len(template)} characters, AWS takes {_LONGEST_TEMPLATE}",
            hint="the certificate of the CA is too long for bulk registration",
            cause="ca-certificate",
        )
    policy = json.dumps(_policy(), indent=2) + "\n"
    return {"template.json": template, "policy.json": policy, "ca.pem": pem, "README.md": _INSTRUCTIONS}


def _template(ca: str) -> dict[str, object]:
    """Return the template: the CA stands in it, because two registered CAs may have one name."""
    return {
        "Parameters": {"ThingName": {"Type": "String"}, "CertificatePem": {"Type": "String"}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "ThingName"}}},
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {
                    "CertificatePem": {"Ref": "CertificatePem"},
                    "CACertificatePem": ca,
                    "Status": "ACTIVE",
                },
            },
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": POLICY}},
        },
    }


def _policy() -> dict[str, object]:
    """Return the policy: a node connects under its own name, and uses its own topics only."""
    filters = [_arn("topicfilter", topic) for topic in _OWN_TOPICS]
    topics = [_arn("topic", topic) for topic in _OWN_TOPICS]
    statements = (
        ("iot:Connect", [_arn("client", _OWN)]),
        ("iot:Publish", [*topics, _arn("topic", _INGEST)]),
        ("iot:Subscribe", filters),
        ("iot:Receive", topics),
    )
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": arns} for action, arns in statements],
    }


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:iot:*:*:{kind}/{name}"


_INSTRUCTIONS = f"""# Bulk registration with AWS IoT

`{ROWS}` has the name and the certificate of each node. It contains no secret.

```
aws iot register-ca-certificate --ca-certificate file://ca.pem --certificate-mode SNI_ONLY --set-as-active
aws iot create-policy --policy-name {POLICY} --policy-document file://policy.json
aws s3 cp {ROWS} s3://BUCKET/{ROWS}
aws iot start-thing-registration-task --template-body file://template.json \\
    --input-file-bucket BUCKET --input-file-key {ROWS} --role-arn ROLE
aws iot list-thing-registration-task-reports --task-id TASK --report-type ERRORS
```

Register the CA and create the policy once for each account and region. ROLE lets AWS IoT read the bucket and register
things. An account runs one task at a time. A node is refused until its certificate is registered.
"""
